// Drives chats with the AI SDK's own classes: its transport parses and checks every chunk.
import { AbstractChat, DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";

const [base, key] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${key}` };
const tell = (name, facts) => console.log(JSON.stringify({ name, ...facts }));

class Held {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => { this.messages = [...this.messages, message]; };
  popMessage = () => { this.messages = this.messages.slice(0, -1); };
  replaceMessage = (index, message) => { this.messages = this.messages.with(index, structuredClone(message)); };
  snapshot = (thing) => structuredClone(thing);
}

class Chat extends AbstractChat {
  constructor(agent, given = {}) {
    const transport = new DefaultChatTransport({ api: `${base}/v1/ai-sdk/${agent}`, headers });
    super({ state: new Held(), transport, ...given });
  }

  shown() {
    return { status: this.status, error: this.error?.message, messages: this.messages };
  }
}

const tools = new Chat("agent-runner");
await tools.sendMessage({ text: "$ echo hi\n@researcher look at it" });
tell("tools", tools.shown());
await tools.sendMessage({ text: "what did I say?" });
tell("second", tools.shown());
await tools.regenerate();
tell("regenerated", tools.shown());

const asks = new Chat("approve", { sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses });
await asks.sendMessage({ text: "write to bob" });
tell("asked", asks.shown());
const approve = async (approved) => {
  const part = asks.lastMessage.parts.find(({ state }) => state === "approval-requested");
  await asks.addToolApprovalResponse({ id: part.approval.id, approved });
  while (asks.status !== "ready" || asks.lastMessage.parts.some(({ state }) => state === "approval-responded")) {
    if (asks.error) throw asks.error;
    await new Promise((go) => setTimeout(go, 20));
  }
};
await approve(true);
tell("approved", asks.shown());
await asks.sendMessage({ text: "write again" });
await approve(false);
tell("denied", asks.shown());

const words = new Chat("asks_back");
await words.sendMessage({ text: "hello" });
tell("question", words.shown());
await words.sendMessage({ text: "left" });
tell("answer", words.shown());

const fails = new Chat("breaks");
await fails.sendMessage({ text: "hello" });
tell("fails", fails.shown());

const thinks = new Chat("thinks");
await thinks.sendMessage({ text: "two and two?" });
tell("thinks", thinks.shown());

// A page that is loaded again in the middle: the same answer, and then nothing to resume.
const slow = new Chat("slow_talk");
const whole = slow.sendMessage({ text: "hello" });
while (!slow.lastMessage?.parts?.some(({ text }) => text?.startsWith("one"))) {
  await new Promise((go) => setTimeout(go, 20));
}
const loaded = new Chat("slow_talk", { id: slow.id, messages: slow.messages.slice(0, 1) });
loaded.messages = slow.messages.slice(0, 1);
await loaded.resumeStream();
await whole;
tell("resumed", { first: slow.shown(), second: loaded.shown() });
const after = new Chat("slow_talk", { id: slow.id });
await after.resumeStream();
tell("nothing", after.shown());
