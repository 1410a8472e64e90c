// A small bot on the API modules of Tencent's package for WeChat, as a client of our simulator. It logs in by QR code,
// polls, and answers every message with its id and text; a text that begins with a slash is an order.
// Its login reads the verify code from the standard input, as the package does.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const { PLATFORM: platform, PACKAGE: installed, OPENCLAW_STATE_DIR: state } = process.env;
const load = (file) => import(pathToFileURL(path.join(installed, "dist/src", file)));

// The package knows one address for logins, and no setting for it.
const call = globalThis.fetch;
globalThis.fetch = (url, options) => call(String(url).replace("https://ilinkai.weixin.qq.com", platform), options);

const { getConfig, getUpdates, notifyStart, notifyStop, sendTyping } = await load("api/api.js");
const { startWeixinLoginWithQr, waitForWeixinLogin } = await load("auth/login-qr.js");
const { registerWeixinAccountId, saveWeixinAccount } = await load("auth/accounts.js");
const { uploadFileAttachmentToWeixin, uploadFileToWeixin } = await load("cdn/upload.js");
const { downloadMediaFromItem } = await load("media/media-download.js");
const { sendFileMessageWeixin, sendImageMessageWeixin, sendMessageWeixin } = await load("messaging/send.js");

const cdnBaseUrl = `${platform}/c2c`;
const stopping = new AbortController();
process.on("SIGTERM", () => stopping.abort());

async function login() {
    const { sessionKey, message } = await startWeixinLoginWithQr({ force: true });
    const outcome = await waitForWeixinLogin({ sessionKey, timeoutMs: 60_000 });
    console.log("login:", message, outcome.message);
    return outcome;
}

async function main() {
    const account = await login();
    if (!account.connected) throw new Error("not logged in");
    const { accountId, baseUrl, botToken: token, userId } = account;
    saveWeixinAccount(accountId, { token, baseUrl, userId });
    registerWeixinAccountId(accountId);
    const session = { baseUrl, token };
    check(await notifyStart(session));
    let cursor = "";
    while (!stopping.signal.aborted) {
        try {
            const answer = await getUpdates({ ...session, get_updates_buf: cursor, abortSignal: stopping.signal });
            if (answer.errcode === -14 || answer.ret === -14) {
                console.log("stale token");
                check(await notifyStart(session));
                continue;
            }
            check(answer);
            cursor = answer.get_updates_buf || cursor;
            for (const message of answer.msgs ?? []) await handle(message, session);
        } catch (error) {
            console.log("poll:", String(error));
            await new Promise((resolve) => setTimeout(resolve, 200));
        }
    }
    check(await notifyStop(session));
}

function check(answer) {
    if (answer.ret || answer.errcode) throw new Error(`ret=${answer.ret} errcode=${answer.errcode}`);
}

async function handle(message, session) {
    const to = message.from_user_id;
    const opts = { ...session, contextToken: message.context_token };
    const reply = (text) => sendMessageWeixin({ to, text, opts });
    const item = message.item_list[0];
    const text = item.text_item?.text;
    switch (text) {
        case "/typing": {
            const { typing_ticket } = await getConfig({ ...session, ilinkUserId: to, contextToken: message.context_token });
            const typing = (status) => sendTyping({ ...session, body: { ilink_user_id: to, typing_ticket, status } });
            await typing(1);
            await reply("typed");
            return typing(2);
        }
        case "/file": {
            const filePath = temporary("sent.txt", "a file of a bot");
            const uploaded = await uploadFileAttachmentToWeixin({ filePath, toUserId: to, opts, cdnBaseUrl });
            return sendFileMessageWeixin({ to, text: "", fileName: "sent.txt", uploaded, opts });
        }
        case "/image": {
            const filePath = temporary("sent.png", "pixels of a bot");
            const uploaded = await uploadFileToWeixin({ filePath, toUserId: to, opts, cdnBaseUrl });
            return sendImageMessageWeixin({ to, text: "caption", uploaded, opts });
        }
        case "/flood":
            try {
                for (let number = 1; number <= 11; number++) await reply(`flood ${number}`);
            } catch (error) {
                console.log("flood:", String(error));
            }
            return;
        case "/login": {
            const { alreadyConnected, connected } = await login();
            return reply(alreadyConnected ? "already connected" : `connected: ${connected}`);
        }
        default: {
            const content = text ?? item.voice_item?.text ?? (await media(item));
            return reply(`${message.message_id}: ${content}`);
        }
    }
}

/** What a file says, after its way through the package's download and decryption. */
async function media(item) {
    let content = "nothing";
    const saveMedia = async (buffer) => {
        content = buffer.toString();
        return { path: "/dev/null" };
    };
    await downloadMediaFromItem(item, { cdnBaseUrl, saveMedia, log: console.log, errLog: console.log, label: "bot" });
    return content;
}

function temporary(name, content) {
    const file = path.join(state, name);
    fs.writeFileSync(file, content);
    return file;
}

await main();
