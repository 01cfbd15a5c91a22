"""Writes each task's result as a line of JSON, after IMGBAKE_MARK, into the pipe that IMGBAKE_RESULTS names."""

import difflib
import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: imgbake_results
type: aggregate
short_description: results of tasks for imgbake
description: Writes each task's result as a line of JSON.
"""

MOST_TEXT = 4096
MOST_DIFF = 8192


def text(value):
    if not isinstance(value, str):
        value = json.dumps(value, default=str, sort_keys=True, indent=1)
    return value


def lines(part):
    return text(part).splitlines(keepends=True)


def shown(diffs):
    out = []
    for diff in diffs if isinstance(diffs, list) else [diffs]:
        if not isinstance(diff, dict):
            continue
        if diff.get("prepared"):
            out.append(text(diff["prepared"]))
        elif "before" in diff and "after" in diff and diff["before"] != diff["after"]:
            pair = difflib.unified_diff(
                lines(diff["before"]), lines(diff["after"]), "before", "after", n=1
            )
            out.extend(line if line.endswith("\n") else line + "\n" for line in pair)
        if sum(map(len, out)) > MOST_DIFF:
            break
    return "".join(out)[:MOST_DIFF].rstrip("\n")


def is_handled(task):
    """Whether the play goes on with a rescue section where this task fails."""
    child, parent = task, task._parent
    while parent is not None:
        if getattr(parent, "rescue", None) and child._uuid in [one._uuid for one in parent.block]:
            return True
        child, parent = parent, parent._parent
    return False


def only_checks(result):
    """Whether the task ran in check mode: it changed nothing, whatever it says."""
    fields = getattr(result, "_task_fields", None) or {}
    return fields.get("check_mode", result._task.check_mode) in (True, "True", "true", "yes")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "imgbake_results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.out = open(os.environ["IMGBAKE_RESULTS"], "w", encoding="utf-8")
        self.mark = os.environ.get("IMGBAKE_MARK", "")
        self.started = {}
        # Changes that Ansible counts, by host, and that are none.
        self.unmade = {}

    def write(self, record):
        self.out.write(self.mark + json.dumps(record, default=str) + "\n")
        self.out.flush()

    def begin(self, task):
        self.started[task._uuid] = time.time()

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.begin(task)

    def v2_playbook_on_handler_task_start(self, task):
        self.begin(task)

    def result(self, outcome, result, ignored=False):
        task, found, host = result._task, result._result, result._host.get_name()
        changed, checks = bool(found.get("changed", False)), only_checks(result)
        if changed and checks:
            changed = False
            if outcome == "ok" or ignored and outcome == "failed":
                self.unmade[host] = self.unmade.get(host, 0) + 1
        record = {
            "outcome": outcome,
            "host": host,
            "task": task.get_name(),
            "action": task.action,
            "path": task.get_path(),
            "seconds": round(time.time() - self.started.get(task._uuid, time.time()), 3),
            "changed": changed,
            "ignored": bool(ignored),
            "handled": outcome == "failed" and is_handled(task),
        }
        if not found.get("_ansible_no_log"):
            parts = [found.get(key) for key in ("msg", "stderr", "stdout", "skip_reason")]
            parts = [text(part).strip() for part in parts if part]
            record["message"] = "\n".join(part for part in parts if part)[:MOST_TEXT]
        if not checks and not found.get("_ansible_no_log"):
            diffs = [found["diff"]] if "diff" in found else []
            for item in found.get("results") or []:
                if isinstance(item, dict) and item.get("changed") and "diff" in item:
                    diffs.append(item["diff"])
            record["diff"] = "\n".join(filter(None, map(shown, diffs)))[:MOST_DIFF]
        self.write(record)

    def v2_runner_on_ok(self, result):
        self.result("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result("failed", result, ignore_errors)

    def v2_runner_on_skipped(self, result):
        self.result("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self.result("unreachable", result, getattr(result._task, "ignore_unreachable", False))

    def v2_playbook_on_stats(self, stats):
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        for host, counts in hosts.items():
            counts["changed"] -= self.unmade.get(host, 0)
        self.write({"stats": hosts})
