"""An echo bot on the official Python SDK, as small as its documentation shows one. `make interop` runs it."""

import json
import os

import lark_oapi as lark
from lark_oapi.api.im.v1 import (
    CreateMessageRequest,
    CreateMessageRequestBody,
    ReplyMessageRequest,
    ReplyMessageRequestBody,
)

DOMAIN, APP_ID, APP_SECRET = (os.environ[key] for key in ("DOMAIN", "APP_ID", "APP_SECRET"))

client = lark.Client.builder().domain(DOMAIN).app_id(APP_ID).app_secret(APP_SECRET).build()


def own_open_id():
    """Asks who we are; the SDK has no typed call for it. It fetches the token for it by itself."""
    request = lark.BaseRequest.builder().http_method(lark.HttpMethod.GET).uri("/open-apis/bot/v3/info")
    response = client.request(request.token_types({lark.AccessTokenType.TENANT}).build())
    return json.loads(response.raw.content)["bot"]["open_id"]


def on_message(data):
    """Answers a direct message, and a group message that mentions us; `/send` makes a plain send of it."""
    message = data.event.message
    mentions = message.mentions or []
    if message.chat_type != "p2p" and not any(mention.id.open_id == OPEN_ID for mention in mentions):
        return
    text = json.loads(message.content)["text"]
    for mention in mentions:
        text = text.replace(mention.key, f"@{mention.name}")
    # The same message always gets the same uuid, so that a redelivery cannot show a second answer.
    if text.startswith("/send "):
        body = CreateMessageRequestBody.builder().receive_id(message.chat_id).msg_type("text")
        body = body.content(json.dumps({"text": text.removeprefix("/send ")})).uuid(message.message_id).build()
        request = CreateMessageRequest.builder().receive_id_type("chat_id").request_body(body).build()
        response = client.im.v1.message.create(request)
    else:
        body = ReplyMessageRequestBody.builder().msg_type("text").content(json.dumps({"text": text}))
        body = body.uuid(message.message_id).build()
        request = ReplyMessageRequest.builder().message_id(message.message_id).request_body(body).build()
        response = client.im.v1.message.reply(request)
    if not response.success():
        raise RuntimeError(f"not sent: {response.code} {response.msg}")


OPEN_ID = own_open_id()
handler = lark.EventDispatcherHandler.builder("", "").register_p2_im_message_receive_v1(on_message).build()
lark.ws.Client(APP_ID, APP_SECRET, domain=DOMAIN, event_handler=handler, log_level=lark.LogLevel.DEBUG).start()
