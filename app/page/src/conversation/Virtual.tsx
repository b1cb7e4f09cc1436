// A long list of which only what is near the window stands in the page. Heights are measured as items are seen; what
// was never seen counts with the mean of the others. The window is what scrolls, so a phone's browser behaves as ever.

import { Component, type ComponentChild, type JSX, createRef } from "preact";

interface Given {
  label: string;
  length: number;
  keyOf: (index: number) => string;
  draw: (index: number) => ComponentChild;
  /** Pixels of an item before any was measured. */
  guess: number;
  /** Stay at the end while items arrive there, if the reader is at the end. */
  follow: boolean;
  version: number;
}

const AROUND = 700;
const NEAR_END = 90;

export class Virtual extends Component<Given, { from: number; to: number }> {
  override state = { from: 0, to: Math.min(this.props.length, 20) };
  private readonly list = createRef<HTMLDivElement>();
  private readonly heights = new Map<string, number>();
  private measured = 0;
  private tops = new Float64Array(1);
  private atEnd = false;
  private readonly sizes = new ResizeObserver((entries) => this.resized(entries));

  override componentDidMount(): void {
    addEventListener("scroll", this.scrolled, { passive: true });
    addEventListener("resize", this.scrolled, { passive: true });
    this.arrange();
    this.place();
  }

  override componentWillUnmount(): void {
    removeEventListener("scroll", this.scrolled);
    removeEventListener("resize", this.scrolled);
    this.sizes.disconnect();
  }

  override componentDidUpdate(before: Given): void {
    if (before.length !== this.props.length || before.version !== this.props.version) {
      this.arrange();
      this.place();
    }
    if (this.props.follow && this.atEnd) scrollTo({ top: document.documentElement.scrollHeight });
  }

  private readonly scrolled = (): void => {
    const page = document.documentElement;
    this.atEnd = page.scrollHeight - scrollY - innerHeight < NEAR_END;
    this.place();
  };

  /** Where each item begins, from the heights that are known. */
  private arrange(): void {
    const { length, keyOf, guess } = this.props;
    const mean = this.heights.size ? this.measured / this.heights.size : guess;
    if (this.tops.length !== length + 1) this.tops = new Float64Array(length + 1);
    for (let n = 0; n < length; n++) this.tops[n + 1] = this.tops[n]! + (this.heights.get(keyOf(n)) ?? mean);
  }

  private place(): void {
    const box = this.list.current?.getBoundingClientRect();
    if (!box) return;
    const from = this.at(-box.top - AROUND);
    const to = Math.min(this.at(innerHeight - box.top + AROUND) + 1, this.props.length);
    if (from !== this.state.from || to !== this.state.to) this.setState({ from, to });
  }

  /** The item at so many pixels below the list's top. */
  private at(y: number): number {
    let [low, high] = [0, Math.max(this.props.length - 1, 0)];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle]! <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  private resized(entries: ResizeObserverEntry[]): void {
    const top = this.list.current?.getBoundingClientRect().top ?? 0;
    let changed = false;
    let above = 0;
    for (const entry of entries) {
      const item = entry.target as HTMLElement;
      const key = item.dataset["key"];
      if (!key || !item.isConnected) continue;
      const height = entry.borderBoxSize[0]?.blockSize ?? item.offsetHeight;
      const index = Number(item.dataset["index"]);
      const was = this.tops[index + 1]! - this.tops[index]!;
      if (Math.abs(height - was) < 0.5 && this.heights.has(key)) continue;
      this.measured += height - (this.heights.get(key) ?? 0);
      this.heights.set(key, height);
      changed = true;
      // What grows above the window's edge must not push what is being read.
      if (top + this.tops[index]! < 0 && top + this.tops[index + 1]! < innerHeight / 3) above += height - was;
    }
    if (!changed) return;
    const anchor = above && this.firstSeen();
    const place = anchor ? anchor.getBoundingClientRect().top : 0;
    this.arrange();
    this.setState({}, () => {
      if (anchor && anchor.isConnected) {
        const moved = anchor.getBoundingClientRect().top - place;
        if (Math.abs(moved) > 1) scrollBy(0, moved);
      }
      this.place();
    });
  }

  private firstSeen(): HTMLElement | undefined {
    return [...(this.list.current?.children ?? [])].find((item) => item.getBoundingClientRect().bottom > 0) as HTMLElement | undefined;
  }

  private readonly watch = (item: HTMLElement | null): void => {
    if (item) this.sizes.observe(item);
  };

  override render(): JSX.Element {
    const { length, keyOf, draw, label } = this.props;
    const to = Math.min(this.state.to, length);
    const from = Math.min(this.state.from, to);
    const items: JSX.Element[] = [];
    for (let n = from; n < to; n++)
      items.push(
        <div key={keyOf(n)} ref={this.watch} class="item" data-key={keyOf(n)} data-index={n} role="article" aria-posinset={n + 1} aria-setsize={length}>
          {draw(n)}
        </div>,
      );
    const known = this.tops.length === length + 1;
    const style = {
      paddingTop: `${known ? this.tops[from] : 0}px`,
      paddingBottom: `${known ? this.tops[length]! - this.tops[to]! : 0}px`,
    };
    return (
      <div ref={this.list} class="virtual" role="feed" aria-label={label} style={style}>
        {items}
      </div>
    );
  }
}
