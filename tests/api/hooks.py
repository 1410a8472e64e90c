"""What a fuzzer cannot know: which ids there are, and what a schema cannot say. Counts what was answered, too."""

import atexit
import collections
import itertools
import json
import os
import re
import urllib.request
from urllib.parse import unquote

import schemathesis


def asked(path, rows, name):
    request = urllib.request.Request(os.environ["FUZZ_URL"] + path)
    request.add_header("authorization", f"Bearer {os.environ['FUZZ_TOKEN']}")
    with urllib.request.urlopen(request, timeout=15) as answer:
        return [row[name] for row in json.load(answer)[rows]]


ACCOUNTS = asked("/v1/accounts", "accounts", "id") + ["feishu:gone"]
SESSIONS = asked("/v1/sessions", "sessions", "id")
RECEIVED = asked("/v1/inbox", "messages", "id")
OURS = asked("/v1/outbox", "messages", "id")
JOBS = asked("/v1/cron", "jobs", "id")
DEAD = asked("/v1/outbox?state=dead", "messages", "id")

# For each path: the parameter, what is there, and what a made-up one has to look like to give way to it. Others were
# made up to be refused.
NUMBER = r"-?[0-9]+"
KNOWN = [
    ("/rows", "id", ["feishu:gone"], r"[a-z0-9_-]+:[a-z0-9_-]+"),
    ("/accounts/", "id", ACCOUNTS, r"[a-z0-9_-]+:[a-z0-9_-]+"),
    ("/sessions/", "id", SESSIONS, r"[a-z0-9_-]+:[a-z0-9_-]+~.+"),
    ("/inbox/", "id", RECEIVED, NUMBER),
    ("/retry", "id", DEAD[1::2], NUMBER),
    ("/discard", "id", DEAD[::2], NUMBER),
    # Half of the jobs may be removed, the others stay.
    ("/cron/", "id", {"DELETE": JOBS[::2], None: JOBS[1::2]}, NUMBER),
    ("/outbox/", "id", OURS, NUMBER),
    ("/trace/", "message", [f"in:{id}" for id in RECEIVED] + [f"out:{id}" for id in OURS], r"(in|turn|out):[0-9]+"),
]

KEY = re.compile(r"[!-~]{1,255}")
NUMBERS = itertools.count()

ANSWERS = collections.defaultdict(collections.Counter)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Three of four ids are of something that is there; the rest stay as they were made up. A conversation needs its
    account, and each request a key of its own. Requests that are to be refused stay as they are."""
    if case.meta and case.meta.generation.mode.is_negative:
        return
    for part, name, ids, pattern in KNOWN:
        if part in case.operation.path:
            made_up = unquote(str((case.path_parameters or {}).get(name)))
            # The same in every run, which Python's own hash is not.
            chosen = sum(made_up.encode())
            if isinstance(ids, dict):
                ids = ids.get(case.operation.method.upper(), ids[None])
            if re.fullmatch(pattern, made_up) and chosen % 4:
                case.path_parameters[name] = ids[chosen % len(ids)]
            break
    if case.query and "conversation" in case.query:
        case.query.setdefault("account", ACCOUNTS[0])
    # A schema cannot say what a schedule is, nor that a job has a text or a prompt and never both.
    if case.operation.path == "/v1/cron" and isinstance(case.body, dict):
        case.body |= {"account": ACCOUNTS[0], "to": "oc_main_0", "schedule": "30 6 * * 1", "tz": "UTC", "name": None}
        case.body |= {"text": "made up", "prompt": None, "max_delay_seconds": int(case.body.get("max_delay_seconds", 60))}
    # A key that was used before with something else is refused, and rightly so.
    if KEY.fullmatch((case.headers or {}).get("Idempotency-Key") or ""):
        case.headers["Idempotency-Key"] = f"fuzz-{next(NUMBERS)}"


@schemathesis.hook
def after_call(context, case, response):
    operation = f"{case.operation.method.upper()} {case.operation.path}"
    ANSWERS[operation][str(response.status_code)] += 1


@atexit.register
def tell():
    with open("answers.json", "w", encoding="utf-8") as file:
        json.dump(ANSWERS, file)
