// An echo bot on the official Node SDK, as small as its documentation shows one. `make interop` runs it.
'use strict';

const lark = require('@larksuiteoapi/node-sdk');

const { DOMAIN: domain, APP_ID: appId, APP_SECRET: appSecret } = process.env;
const loggerLevel = lark.LoggerLevel.debug;
const client = new lark.Client({ appId, appSecret, domain, loggerLevel });

// Answers a direct message, and a group message that mentions us; `/send` makes a plain send of it.
async function onMessage({ message }, ownOpenId) {
  const mentions = message.mentions ?? [];
  if (message.chat_type !== 'p2p' && !mentions.some((mention) => mention.id.open_id === ownOpenId)) return;
  let { text } = JSON.parse(message.content);
  for (const mention of mentions) text = text.replace(mention.key, `@${mention.name}`);
  // The same message always gets the same uuid, so that a redelivery cannot show a second answer.
  const data = { msg_type: 'text', uuid: message.message_id };
  let answer;
  if (text.startsWith('/send ')) {
    data.content = JSON.stringify({ text: text.slice('/send '.length) });
    data.receive_id = message.chat_id;
    answer = await client.im.message.create({ params: { receive_id_type: 'chat_id' }, data });
  } else {
    data.content = JSON.stringify({ text });
    answer = await client.im.message.reply({ path: { message_id: message.message_id }, data });
  }
  if (answer.code !== 0) throw new Error(`not sent: ${answer.code} ${answer.msg}`);
}

async function main() {
  // Who we are; the SDK has no typed call for it. It fetches the token for it by itself.
  const { bot } = await client.request({ method: 'GET', url: '/open-apis/bot/v3/info' });
  const eventDispatcher = new lark.EventDispatcher({ loggerLevel }).register({
    'im.message.receive_v1': (data) => onMessage(data, bot.open_id),
  });
  new lark.WSClient({ appId, appSecret, domain, loggerLevel }).start({ eventDispatcher });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
