# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The story of buildcache_prune, which two modules tell: with every builder, or with the engine's own alone."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from .._base.records import EMBEDDED
from .._base.units import SECOND, parse_duration
from .._cache.options import wanted_from_options
from .._cache.plan import aimed
from .._cache.stages import STAGE_OPTIONS
from .._engine.address import socket_path
from .._engine.client import Deadline, EngineClient
from .._engine.last_cleanup import failure_kept, keep_cleanup
from .._engine.lock import locked
from .._engine.observe import observe_to_decide
from .._engine.prune import carry_out, decide, pretend, settled
from .._engine.unheard import Unheard
from .._results.marks import shortfall
from .._results.prune import all_here, failures, prune_result, unmatched_names, warnings
from .arguments import (
    AUDIT_OPTIONS,
    BUILDER_OPTIONS,
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
    go_on_unheard,
    leave_to_the_whole,
)

OPTIONS = {
    "containers": {"type": "str", "choices": ["keep", "stopped"], "default": "keep"},
    "containers_older_than": {"type": "str"},
    "containers_filters": {"type": "dict"},
    "images": {"type": "str", "choices": ["dangling", "unused", "keep"], "default": "dangling"},
    "images_older_than": {"type": "str"},
    "images_unused_for": {"type": "str"},
    "images_filters": {"type": "dict"},
    "images_remove": {"type": "list", "elements": "str"},
    "images_keep": {"type": "list", "elements": "str"},
    "images_keep_last": {"type": "int"},
    "protect_for": {"type": "str", "default": "1h"},
    "build_cache": {"type": "bool", "default": True},
    "bootstrap_stopped": {"type": "bool", "default": False},
    "remove_orphaned_state": {"type": "bool", "default": False},
    "orphans_older_than": {"type": "str", "default": "24h"},
    "all": {"type": "bool", "default": False},
    "unused_for": {"type": "str"},
    "types": {
        "type": "list",
        "elements": "str",
        "choices": ["regular", "source.local", "source.git.checkout", "exec.cachemount", "internal", "frontend"],
    },
    "filters": {"type": "dict"},
    "reserved_space": {"type": "str"},
    "max_used_space": {"type": "str"},
    "min_free_space": {"type": "str"},
    "high_watermark": {"type": "str"},
    "low_watermark": {"type": "str"},
    "high_inodes": {"type": "str"},
    "low_inodes": {"type": "str"},
    "fail_on_shortfall": {"type": "bool", "default": False},
    "deadline": {"type": "str", "default": "1h"},
    "facts": {"type": "bool", "default": False},
    # The one of _dockerd.daemon, which is not sent to hosts for its sake.
    "config_file": {"type": "path"},
    **AUDIT_OPTIONS,
}
OPTIONS["stages"] = {
    "type": "list",
    "elements": "dict",
    # What a stage does not have is as for the whole run: no default may say otherwise.
    "options": {
        name: {key: value for key, value in OPTIONS[name].items() if key != "default"} for name in STAGE_OPTIONS
    },
}


class NoOthers:
    """No other builder is to be pruned."""

    def pretend(self):
        """Return the Pruned of each builder, and the Orphans."""
        return (), ()

    def prune(self, deadline):
        """Return the Pruned of each builder, and the Orphans."""
        return (), ()


def memory_of(docker_host):
    """Return what runs have seen of the images of the engine at this address."""
    # Imported here: most runs ask for no last uses, and loading takes time on every host.
    from .._engine.uses import Memory

    return Memory(docker_host)


def prune_module(others_to_prune=None, elsewhere=None, looked=None, counted=None, audited=None):
    """Run the module. ``others_to_prune(options, wanted, client, filesystems)`` returns the builders beyond the
    engine's own, as NoOthers, ``elsewhere`` is as for EngineClient, ``looked(options, client, observation)`` what makes
    facts, as prune_facts.Looked, ``counted(observation, deadline)`` the Observation with its inodes, and
    ``audited(module)`` what keeps the audit log, as prune_audit.Audited; the module without them ends before anything
    is done where it takes one."""
    module = AnsibleModule(
        argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **BUILDER_OPTIONS, **OPTIONS), supports_check_mode=True
    )
    options = module.params
    with errors_reported(module):
        wanted = wanted_from_options(options)
        seconds = parse_duration(options["deadline"], "deadline") / SECOND
        others_asked = set(options["builders"]) != {EMBEDDED} or options["remove_orphaned_state"]
        here = elsewhere or socket_path(options["docker_host"])
        asked = ((others_asked, others_to_prune), (options["facts"], looked), (options["high_inodes"], counted))
        asked += ((options["audit_log"] is not None, audited),)
        if not here or any(option and not able for option, able in asked):
            leave_to_the_whole(module)
        audit = audited(module) if options["audit_log"] is not None else None
        with locked(options, shared=module.check_mode), failure_kept(options["docker_host"], module.check_mode):
            unheard = Unheard(options["docker_host"])
            deadline, client = Deadline(seconds), EngineClient(options, elsewhere)
            memory = memory_of(options["docker_host"]) if wanted.by_use else None
            before = observe_to_decide(client, wanted.widest.containers == "stopped", deadline)
            wanted = aimed(wanted, before)
            decided = decide(wanted, before, client, memory and memory.seen, lambda seen: counted(seen, deadline))
            look = looked(options, client, decided.before) if options["facts"] else None
            others = NoOthers()
            if others_asked:
                others = others_to_prune(options, wanted, client, decided.left.filesystems)
            if module.check_mode:
                done, after = pretend(wanted, decided)
                pruned, orphans = others.pretend()
            else:
                go_on_unheard()
                if others_asked or any(step.ids for step in decided.steps):
                    unheard.begin()
                done, after = carry_out(wanted, client, decided, deadline)
                pruned, orphans = (), ()
                try:
                    pruned, orphans = others.prune(deadline)
                finally:
                    logged = audit and audit.removed(wanted, decided.before, done, pruned, orphans)
                after = settled(decided.before, after, all_here(done, pruned, orphans))
                if memory:
                    # Of the containers that were there, also those that have gone.
                    memory.keep(after._replace(containers=decided.before.containers))
            result = prune_result(
                wanted, decided.before, done, after, module.check_mode, module._diff, builders=pruned, orphans=orphans
            )
            if audit and not module.check_mode:
                result["audit"] = logged
            failed = failures(done, pruned, orphans, options["builders"])
            if options["fail_on_shortfall"]:
                failed = " ".join(filter(None, (failed, shortfall(result))))
            if not module.check_mode:
                keep_cleanup(options["docker_host"], dict(result, msg=failed), after.engine.now / SECOND)
            if look:
                # In check mode the host is as it was, whatever would go.
                with errors_reported(module, result):
                    result["ansible_facts"] = {"buildcache": look.facts(decided.before if module.check_mode else after)}
            unheard.end(dict(result, msg=failed))
            doubts = (decided.doubt or decided.before.engine.doubt, decided.inexact)
            unknown = unmatched_names(wanted, decided.before.images)
            for warning in filter(None, (*doubts, *warnings(pruned, options["builders"]), *unknown)):
                module.warn(warning)
            if unheard.previous:
                result["previous"] = unheard.previous
            # With the lock still held: another run could make its entry meanwhile.
            with unheard.told(forget_them=not module.check_mode):
                if failed:
                    module.fail_json(msg=failed, **result)
                module.exit_json(**result)
