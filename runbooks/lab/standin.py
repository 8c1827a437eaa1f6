#!/usr/bin/env python3
"""Stands in for a provider's command line tool in the lab, under whose name it is linked here. It is not the real tool: it knows
the commands in NAME.known, refuses every other with exit code 64, and answers as was recorded.

A line of NAME.known is a command, and behind `=>` what it does and says:

    rollout status deployment/<name> [-n <namespace>] [--timeout <time>] => deployment "{name}" successfully rolled out
    scale deployment/<name> --replicas <count> => @set {name}={count} ; deployment.apps/{name} scaled
    get deployment/<name> -o jsonpath={.spec.replicas} => @get {name} 3

`<x>` stands for any text, also within a word; what is in brackets may be left out, and options may stand anywhere. `@set key=value` and
`@get key default` remember; `@file <path> [code]` fails unless the file is there; `@slow seconds` takes its time; `@fail code words` fails. `\\n` is a line break. What is remembered, and
every command that was given, is in the folder $STANDIN_STATE (default: lab-standins in the working directory), in NAME.state and calls.log. A line in the file
NAME.fail there, such as `rollout status`, makes every command fail that begins with it.
"""
import fcntl
import json
import os
import re
import signal
import sys
import time


def words_of(pattern):
    """The words of a pattern that must stand there, and the options in brackets."""
    optional = re.findall(r"\[([^\]]+)\]", pattern)
    return re.sub(r"\[[^\]]+\]", " ", pattern).split(), [option.split() for option in optional]


def fits(word, argument):
    """What `<x>` stands for in one word, or None."""
    parts = re.split(r"<([^>]+)>", word)
    regex = "".join(re.escape(part) if at % 2 == 0 else "(.+)" for at, part in enumerate(parts))
    found = re.fullmatch(regex, argument, re.S)
    return dict(zip(parts[1::2], found.groups())) if found else None


def fit(pattern, arguments):
    words, options = words_of(pattern)
    values, rest = {}, list(arguments)
    for option in options + [group for group in grouped(words) if group[0].startswith("-")]:
        is_optional = option in options
        for at in range(len(rest) - len(option) + 1):
            found = [fits(word, rest[at + ahead]) for ahead, word in enumerate(option)]
            if all(one is not None for one in found):
                for one in found:
                    values.update(one)
                del rest[at : at + len(option)]
                break
        else:
            if not is_optional:
                return None
    plain = [word for group in grouped(words) if not group[0].startswith("-") for word in group]
    if len(plain) != len(rest):
        return None
    for word, argument in zip(plain, rest):
        found = fits(word, argument)
        if found is None:
            return None
        values.update(found)
    return values


def grouped(words):
    """Options with the value behind them, and single words."""
    groups, at = [], 0
    while at < len(words):
        takes = words[at].startswith("-") and "=" not in words[at] and at + 1 < len(words) and words[at + 1].startswith("<")
        groups.append(words[at : at + 2] if takes else [words[at]])
        at += 2 if takes else 1
    return groups


def fill(text, values):
    return re.sub(r"\{(\w[\w-]*)\}", lambda found: values.get(found[1], found[0]), text)


def main():
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    folder = os.environ.get("STANDIN_STATE", "lab-standins")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "calls.log"), "a") as log:
        log.write(json.dumps([name, *arguments]) + "\n")
    line = " ".join(arguments)
    refusing = os.path.join(folder, f"{name}.fail")
    if os.path.exists(refusing):
        for start in open(refusing).read().splitlines():
            if start and line.startswith(start):
                sys.exit(f"{name} (stand-in): `{line}` fails, as {refusing} says")
    for known in open(os.path.join(here, f"{name}.known")):
        if known.startswith("#") or "=>" not in known:
            continue
        pattern, answer = (part.strip() for part in known.split("=>", 1))
        values = fit(pattern, arguments)
        if values is not None:
            return act(name, folder, answer, values)
    print(f"{name} (stand-in): does not know `{line}`; {name}.known in {here} says what it knows", file=sys.stderr)
    sys.exit(64)


def act(name, folder, answer, values):
    for part in answer.split(" ; "):
        # Filled in only now: a value is never an instruction.
        verb, _, rest = part.partition(" ")
        rest = fill(rest, values)
        if verb == "@set":
            key, _, value = rest.partition("=")
            remember(folder, name, lambda state: state.update({key: value}))
        elif verb == "@get":
            key, _, default = rest.partition(" ")
            print(remember(folder, name, lambda state: state.get(key, default)))
        elif verb == "@file":
            path, _, code = rest.partition(" ")
            if not os.path.exists(path):
                print(f"{name} (stand-in): there is no file {path}", file=sys.stderr)
                sys.exit(int(code or 1))
        elif verb == "@slow":
            time.sleep(float(rest))
        elif verb == "@fail":
            code, _, words = rest.partition(" ")
            print(f"{name} (stand-in): {words}", file=sys.stderr)
            sys.exit(int(code))
        else:
            print(fill(part, values).replace("\\n", "\n"))


def remember(folder, name, use):
    """Whole at any time, also if this is killed."""
    file = os.path.join(folder, f"{name}.state")
    with open(file + ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.load(open(file)) if os.path.exists(file) else {}
        result = use(state)
        with open(file + ".next", "w") as next:
            json.dump(state, next)
        os.replace(file + ".next", file)
    return result


# Python would ignore it and complain. The real tools just end when nobody reads them any more, as before `| head -1`.
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
main()
