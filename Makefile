# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

tools := tests/tools
# What make installs stands in .venv; a file .ready there is younger than what was asked to be installed.
venv := .venv/.ready
# Fleet tests run side by side, each of so many workers on hosts of its own, one of each of some kinds. Arguments of fleet:
# the results' name, the marks, the kinds for all tests, those for what is the same with any engine, the lab's, the workers.
# Of the latter, every behaviour is shown on the newest and on the oldest version, its variants on those in between.
WORKERS := 3
FAST_WORKERS := 4
FAST_KINDS := docker20,docker28c
FAST_ANY := docker28c
OTHER_KINDS := docker26,docker28
OTHER_ANY := docker20
OTHER_LAB := docker20,docker26,docker28
ALL_KINDS := docker20,docker26,docker28,docker28c
DEEP_ANY := docker26,docker28
count = $(words $(subst $(comma), ,$(1)))
fleet = KINDS=$(5) HOSTS=$$(($(call count,$(5)) * $(6))) $(tools)/with_lab.sh env KINDS=$(3) ANY_ENGINE=$(4) \
	.venv/bin/python -m pytest tests/fleet -v --durations=40 -m '$(2)' -n $(6) --dist loadfile \
	--no-loadscope-reorder --max-worker-restart 0 --junitxml=.lab/logs/$(1).xml
comma := ,

.PHONY: help
help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(venv) ## Show the main job on a lab fleet: fill the hosts, preview, clean, explain
	$(tools)/with_lab.sh tests/demo/run

.PHONY: test
test: $(venv) ## Test every behaviour once; PARTS="lint unit ..." for some
	.venv/bin/python $(tools)/run_tests.py $(or $(PARTS),fast)

.PHONY: test-deep
test-deep: $(venv) ## Test the rest: every Python and core, all variants, random trials, Galaxy's check, the benchmarks
	.venv/bin/python $(tools)/run_tests.py deep benchmarks

.PHONY: ci
ci: $(venv) ## Run both, as CI does
	.venv/bin/python $(tools)/run_tests.py fast deep benchmarks

.PHONY: lab
lab: $(venv) ## Boot the lab: HOSTS=n KINDS=a,b EXTRA=name=/path BUILDKIT_IMAGE=/path DISK=4G
	$(tools)/lab_up.sh

.PHONY: lab-down
lab-down: ## Take the lab down, leaving nothing behind but its cache
	python3 -m tests.lab down

.PHONY: lint
lint: $(venv) ## Run ruff, shellcheck, import-linter, ansible-lint and antsibull's linters
	$(tools)/lint.sh

.PHONY: test-unit test-unit-deep
test-unit: $(venv) ## Run the unit tests on the oldest and the newest Python
	$(tools)/every_python.sh units fast
test-unit-deep: $(venv) ## Run the unit tests on every Python that the newest ansible-core tests
	$(tools)/every_python.sh units deep

.PHONY: test-sanity test-sanity-deep
test-sanity: $(venv) ## Run ansible-test's sanity tests of the newest ansible-core
	$(tools)/every_python.sh sanity fast
test-sanity-deep: $(venv) ## Run the sanity tests that depend on the Python on every one
	$(tools)/every_python.sh sanity deep

.PHONY: test-integration
test-integration: $(venv) ## Run the integration targets against scripted engines on this machine
	$(tools)/ansible_test.sh .venv .venv/ansible-test/integration integration --continue-on-error

.PHONY: test-fleet test-fleet-deep
test-fleet: $(venv) ## Run the fleet tests of every behaviour on the lab; WORKERS=n KEEP=1 leaves it up after
	$(call fleet,fleet,not deep,$(FAST_KINDS),$(FAST_ANY),$(FAST_KINDS),$(FAST_WORKERS))
test-fleet-deep: $(venv) ## Run them on the other engines, and the others on all: variants, fuzz runs, random trials
	status=0; \
	$(call fleet,fleet-deep-others,not deep and not once,$(OTHER_KINDS),$(OTHER_ANY),$(OTHER_LAB),$(WORKERS)) || status=1; \
	$(call fleet,fleet-deep,deep,$(ALL_KINDS),$(DEEP_ANY),$(ALL_KINDS),$(WORKERS)) || status=1; \
	exit $$status

.PHONY: conformance
conformance: $(venv) ## Hold previews against runs on random caches: TRIALS=n SEED=s
	$(tools)/with_lab.sh .venv/bin/python -m pytest tests/fleet/test_conformance.py -v

.PHONY: test-tools
test-tools: $(venv) ## Run the tests of what the tests stand on: the lab's code and these tools
	.venv/bin/python -m pytest tests/lab tests/tools --junitxml=.lab/logs/tools.xml

.PHONY: test-galaxy
test-galaxy: .venv/galaxy/.ready ## Check the collection as Galaxy does when it imports one
	$(tools)/galaxy.sh

.PHONY: dist
dist: $(venv) ## Build the artifact into build/, and try it installed
	$(tools)/dist.sh

.PHONY: bench
bench: $(venv) .venv/bench/.ready ## Run the benchmarks on the lab, or some: BENCHMARKS="next_builds job"; KEEP=1 leaves it up after
	$(tools)/with_lab.sh .venv/bin/python -m tests.benchmarks $(BENCHMARKS)

.PHONY: bench-small
bench-small: $(venv) .venv/bench/.ready ## Run every benchmark with its smallest numbers, to see that it runs
	$(tools)/with_lab.sh .venv/bin/python -m tests.benchmarks --smallest

.PHONY: docs
docs: $(venv) ## Build the documentation into build/docs
	$(tools)/docs.sh

.PHONY: clean
clean: ## Remove all that make has made but the lab's cache
	[ ! -e .lab/state.json ] || python3 -m tests.lab down
	rm -rf .venv .ruff_cache .pytest_cache build

$(venv): tests/requirements.txt
	command -v git >/dev/null || $(tools)/packages.sh git
	$(tools)/setup.sh .venv -r tests/requirements.txt
	mkdir -p .venv/collections/ansible_collections/buildfleet
	ln -s ../../../.. .venv/collections/ansible_collections/buildfleet/buildcache
	touch $@

.venv/galaxy/.ready: $(venv)
	$(tools)/setup.sh .venv/galaxy 'galaxy-importer>=0.4.30,<0.5'
	touch $@

.venv/bench/.ready: $(venv)
	$(tools)/community_docker.sh .venv/bench
	touch $@
