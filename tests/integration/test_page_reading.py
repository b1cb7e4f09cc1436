"""The page as somebody reads it for a day: colours, thousands of messages, what agents write, the keyboard."""

import json
from collections.abc import Iterator

import pytest

from checks.tree import ROOT
from tests.integration.browser import Browser, browser
from tests.integration.stack import KEY, Stack
from tests.support.waiting import eventually

CONTRAST = (ROOT / "tests" / "support" / "contrast.js").read_text()
MANY = 5000
MOST_FRAME_MS = 50
MOST_ITEMS = 80
SOURCE = f"""
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

def many(state):
    text = "## Step %s\\n\\nA **bold** word and a list:\\n\\n- one\\n- two\\n\\n```\\nprint(%s)\\n```\\n"
    return {{"messages": [AIMessage(text % (n, n) if n % 3 else f"short {{n}}", id=f"m{{n}}") for n in range({MANY})]}}

def hostile(state):
    return {{"messages": [AIMessage(
        "**bold** <img src=x onerror='window.ran = 1'> <script>window.ran = 1</script>\\n\\n"
        "[click](javascript:window.ran=1) ![picture](https://elsewhere.example/a.png) [good](https://example.org)\\n\\n"
        "<style>body {{ display: none }}</style><form action='https://elsewhere.example'><input name=a></form>"
    )]}}

def ask(state):
    return {{"messages": [AIMessage(f"paid {{interrupt({{'question': 'How much?', 'options': ['40', '60']}})}}")]}}

def fail(state):
    raise ValueError("the printer has no paper")

def alone(step):
    return StateGraph(MessagesState).add_node("step", step).add_edge(START, "step").add_edge("step", END).compile()

long, hostile, asks, fails = alone(many), alone(hostile), alone(ask), alone(fail)
"""
WORK = "look around\n$ ls\n@researcher count $ ls | wc -l"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Browser]]:
    folder = tmp_path_factory.mktemp("reading")
    with browser() as page:
        (folder / "graphs.py").write_text(SOURCE)
        graphs = {name: f"./graphs.py:{name}" for name in ("long", "hostile", "asks", "fails")}
        (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
        links = "Flower=http://flower.example/task/{execution_id}:execute,Wiki=http://wiki.example"
        settings = {"AGENT_RUNNER_GRAPHS": str(folder / "langgraph.json"), "AGENT_RUNNER_PAGE_LINKS": links}
        with Stack.open(folder, **settings) as stack:
            stack.start_worker()
            page.open(f"{stack.http.base_url}/#key={KEY}")
            page.shows("0 of")
            yield stack, page


def ended(stack: Stack, message: str, **given: str) -> str:
    id = str(stack.create(message, **given)["metadata"]["id"])
    stack.wait_for(id)
    return id


def at(page: Browser, place: str, shown: str) -> None:
    page.run(f"location.hash = {json.dumps(place)}")
    eventually(lambda: page.run(f"Boolean(document.querySelector({json.dumps(shown)}))"), what=f"{shown} at {place}")


def test_every_text_can_be_read_in_dark_and_in_light(town: tuple[Stack, Browser]) -> None:
    """WCAG AA for each text of each view, with each phase, a failure, questions, cards and Markdown in them."""
    stack, page = town
    work, failed = ended(stack, WORK), ended(stack, "print", graph="fails")
    asks = ended(stack, "pay", graph="asks")
    runs = stack.create("wait\n$ sleep 100")["metadata"]["id"]
    stopped = stack.create("stop me\n$ sleep 100")["metadata"]["id"]
    stack.http.post(f"/v1/executions/{stopped}/cancel")
    stack.wait_for(stopped)
    places = [
        ("", "#list .COMPLETED"), (work, ".sub-agent"), (failed, ".failure summary"), (asks, ".answers label"),
        (runs, ".phase.IN_PROGRESS"), (f"{work}?tab=log", ".log-row"), (f"{work}?tab=json", "pre.block"),
        ("/workers", "#view table"), ("/start", "#new"),
    ]  # fmt: skip
    for scheme in ("dark", "light"):
        page.prefers("color-scheme", scheme)
        for place, shown in places:
            at(page, place, shown)
            page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
            seen = page.run(CONTRAST)
            assert seen["looked"] > 15, (scheme, place)
            assert seen["found"] == [], (scheme, place)
    page.run("document.documentElement.style.setProperty('--dim', '#999')")
    assert page.run(CONTRAST)["found"], "a colour that is hard to read is seen"
    page.run("document.documentElement.style.removeProperty('--dim')")
    stack.http.post(f"/v1/executions/{runs}/cancel")


FRAMES = 120
SCROLL = """
new Promise(done => {
  const times = []; let last = performance.now(), items = 0;
  const step = now => {
    times.push(now - last); last = now;
    items = Math.max(items, document.querySelectorAll(".item").length);
    scrollBy(0, 600);
    if (times.length < %d) return requestAnimationFrame(step);
    times.sort((a, b) => a - b);
    done({median: times[times.length / 2], items, moved: scrollY});
  };
  requestAnimationFrame(step);
})
"""


def test_thousands_of_messages_scroll(town: tuple[Stack, Browser]) -> None:
    """Few of them stand in the page at a time, a frame of scrolling costs little, and the last one is reached."""
    stack, page = town
    at(page, ended(stack, "speak", graph="long"), ".item")
    before = page.spent_ms()
    seen = page.run(SCROLL % FRAMES)
    spent = (page.spent_ms() - before) / FRAMES
    print(f"a frame: {spent:.1f} ms of CPU, median {seen['median']:.1f} ms; at most {seen['items']} items")
    assert seen["moved"] > 30_000
    assert seen["items"] < MOST_ITEMS
    assert 0 < spent <= MOST_FRAME_MS
    page.click(".ends button", "end")
    page.shows(f"Step {MANY - 1}")
    assert page.run("document.querySelectorAll('.item').length") < MOST_ITEMS
    assert page.run("[...document.querySelectorAll('.item')].at(-1).getAttribute('aria-posinset')") == str(MANY + 1)


def test_what_an_agent_writes_can_do_nothing(town: tuple[Stack, Browser]) -> None:
    """Markdown is shown as such; its tags are text, its scripts do not run, pictures and links lead nowhere by
    themselves."""
    stack, page = town
    at(page, ended(stack, "be hostile", graph="hostile"), ".markdown strong")
    assert page.run("typeof window.ran") == "undefined"
    shown = "document.querySelector('.markdown')"
    assert page.run(f"{shown}.querySelector('img, script, style, form, input, [onerror], [style]')") is None
    assert "<script>window.ran = 1</script>" in page.run(f"{shown}.innerText")
    links = page.run(f"[...{shown}.querySelectorAll('a')].map(a => [a.getAttribute('href'), a.rel])")
    safe = "noopener noreferrer"
    assert links == [[None, safe], ["https://elsewhere.example/a.png", safe], ["https://example.org", safe]]


def test_the_list_is_walked_by_keys(town: tuple[Stack, Browser]) -> None:
    """`j` and `k` walk, `x` chooses, Enter opens, and back leads to the list as it was."""
    stack, page = town
    first, second = ended(stack, "walked first"), ended(stack, "walked second")
    at(page, "", f"#list tr[data-id='{second}']")
    page.run("location.hash = '?q=walked'")
    eventually(lambda: page.run("document.querySelectorAll('#list tr').length") == 2, what="what was searched for")
    focused = "document.activeElement.closest('tr')?.dataset.id"
    page.run("document.activeElement.blur()")
    # The page listens a moment after it shows the rows.

    def leads() -> bool:
        page.press("j")
        return bool(page.run(focused) == second)

    eventually(leads, what="j leads to the first row")
    page.press("j")
    assert page.run(focused) == first
    page.press("x")
    page.shows("1 chosen")
    page.press("k")
    assert page.run(focused) == second
    page.press("Enter")
    eventually(lambda: page.run("location.hash") == f"#{second}", what="the execution")
    page.run("history.back()")
    eventually(lambda: page.run("location.hash") == "#?q=walked", what="the list again")


def test_what_is_done_to_several_is_told_for_each(town: tuple[Stack, Browser]) -> None:
    """Chosen rows are redriven together; what does not fit a row is not offered for it."""
    stack, page = town
    failed = [ended(stack, f"print {n}", graph="fails") for n in range(2)]
    well = ended(stack, "hello there")
    at(page, "", f"#list tr[data-id='{well}']")
    for id in (*failed, well):
        page.click(f"#list tr[data-id='{id}'] input")
    page.shows("3 chosen")
    offered = "[...document.querySelectorAll('.bulk button')].slice(0, 3).map(b => [b.innerText.trim(), b.disabled])"
    fitting = [["Cancel", True], ["Redrive 2", False], ["Delete 3", False]]
    eventually(lambda: page.run(offered) == fitting, what="the list to be told of the ends")
    page.click(".bulk button", "Redrive")
    page.shows("2 of 2 started again.")


def test_phases_and_searches_stand_in_the_address(town: tuple[Stack, Browser]) -> None:
    """A link shows what its sender saw, and a click on a phase narrows the list."""
    stack, page = town
    failed, well = ended(stack, "print it", graph="fails"), ended(stack, "hello again")
    at(page, "", f"#list tr[data-id='{well}']")
    eventually(lambda: page.run("document.querySelector('.counters .FAILED b').innerText"), what="the counters")
    page.click(".counters a", "failed")
    eventually(lambda: page.run(f"!document.querySelector('#list tr[data-id=\"{well}\"]')"), what="a shorter list")
    assert page.run("location.hash") == "#?phase=EXECUTION_FAILED"
    page.open("about:blank").open(f"{stack.http.base_url}/#?phase=EXECUTION_FAILED")
    page.shows(failed)
    assert well not in page.text()


def test_links_lead_on_to_the_same_execution(town: tuple[Stack, Browser]) -> None:
    """Those of the settings: with the id where an execution is shown, the others on every page."""
    stack, page = town
    id = ended(stack, "hello")
    at(page, id, ".elsewhere")
    links = "[...document.querySelectorAll('a[target=_blank]')].map(a => [a.innerText, a.getAttribute('href'), a.rel])"
    assert sorted(page.run(links)) == [
        ["Flower ↗", f"http://flower.example/task/{id}:execute", "noopener noreferrer"],
        ["Wiki ↗", "http://wiki.example", "noopener noreferrer"],
    ]
