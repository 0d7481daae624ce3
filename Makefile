# Everything that is done with a checkout. `make` alone lists it. Works as root on a bare Debian 12.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The venv comes first for every command, and for every command that those start (molecule starts ansible-playbook).
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PYTHONDONTWRITEBYTECODE := 1

INVENTORY ?= inventories/lab/hosts.yml
PLAYBOOK := ansible-playbook -i $(INVENTORY)
# pytest's report of each suite goes there, for the summary at the end.
REPORTS := build/reports
# Paths or options for pytest: make unit T="tests/unit/netlink -k route"
T ?=

.PHONY: help
help: ## List what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do \
	  printf '  make %-12s %s\n' "$$name" "$$text"; done

.PHONY: ready
ready:
	@.ci/prepare

.PHONY: lab
lab: ready ## Four nodes in namespaces, the pod network on them, and the table that proves it
	@.ci/step "the lab: routers and nodes as namespaces" $(PLAYBOOK) playbooks/lab.yml
	@.ci/step "the pod network on every node" $(PLAYBOOK) playbooks/site.yml -e podnet_verify=false
	@.ci/step "the proof, by packets" .ci/proof $(PLAYBOOK) playbooks/verify.yml

.PHONY: lab-down
lab-down: ready ## Remove the lab and everything in it
	@.ci/step "removing the lab" $(PLAYBOOK) playbooks/lab.yml -e lab_state=absent

.PHONY: test
test: ready ## Everything: lint and sanity, unit, kernel, site, molecule, vm
	@.ci/test lint,sanity unit kernel site molecule test-vm

.PHONY: check
check: ready ## The fast part of it: lint, types, unit
	@.ci/test lint unit

.PHONY: lint
lint: ready ## ruff, mypy, yamllint, shellcheck, ansible-lint (production), changelog, reference
	@.ci/lint

.PHONY: format
format: ready ## Put the Python files into the house's form
	ruff check --fix
	ruff format

.PHONY: unit
unit: ready ## Tests of the pure core, without a kernel
	pytest -n 2 --junitxml=$(REPORTS)/unit.xml $(or $(T),tests/unit)

.PHONY: kernel
kernel: ready ## Tests against this machine's kernel, in namespaces of their own, two files at a time
	pytest -n 2 --dist loadfile --junitxml=$(REPORTS)/kernel.xml $(or $(T),tests/integration --ignore tests/integration/site)

.PHONY: site
site: ready ## Tests of whole playbooks, each on a lab of up to five nodes, which takes all of a machine
	pytest --junitxml=$(REPORTS)/site.xml $(or $(T),tests/integration/site)

.PHONY: conformance
conformance: ready ## The 230 policy cases in full, 500 random sets of policies and as many of services, by packets, with every backend
	PODNET_CONFORMANCE=full PODNET_AGREEMENT=$${PODNET_AGREEMENT:-500} pytest -q \
	  $(or $(T),tests/integration/policy/test_conformance.py tests/integration/policy/test_agreement.py \
	  tests/integration/services/test_agreement.py)

.PHONY: replacements
replacements: ready ## 1,000 replacements of policies before a stream that goes on, with every backend (half an hour)
	PODNET_TEST_REPLACEMENTS=1000 pytest -q -k "replacements or while_policies_change" \
	  tests/integration/policy/test_flows.py tests/integration/policy/test_crossing.py tests/integration/policy/test_ebpf_state.py

.PHONY: faults
faults: ready ## Every fault at every operation, the process killed before it too, for every kind (hours); T as for kernel
	PODNET_FAULTS=full pytest -q $(or $(T),tests/integration/resources/test_faults.py \
	  tests/integration/resources/test_tunnel_faults.py tests/integration/conditions tests/integration/bgp/test_faults.py)

.PHONY: topologies
topologies: ready ## Random clusters built, proved, built again and taken off (a minute or two each); SEEDS="1 2 3" chooses
	PYTHONPATH=collections python -m ansible_collections.podnet.fabric.tests.topologies.run $(SEEDS)

# Seconds for each target of `make fuzz`.
FUZZ_SECONDS ?= 60

.PHONY: fuzz
fuzz: ready ## What reads what others write, under coverage-guided fuzzing; T=PART_OF_A_NAME, FUZZ_SECONDS=60 for each
	pip install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade \
	  --target build/fuzz/packages -r tools/fuzz-requirements.txt
	PYTHONPATH=build/fuzz/packages python tools/fuzz.py --seconds $(FUZZ_SECONDS) $(T)

.PHONY: molecule
molecule: ready ## The roles, on namespaces: converge, idempotence, drift, cleanup
	.ci/molecule

.PHONY: test-vm
test-vm: ready ## What needs ipip, geneve or wireguard links, in a kernel that has them; T="inside geneve" for some of it
	@.ci/vm $(T)

.PHONY: sanity
sanity: ready ## ansible-test sanity and ansible-test units
	.ci/sanity

.PHONY: bench
bench: ready ## The measurements that the documentation quotes
	python benchmarks/netlink.py
	python benchmarks/plan.py
	python benchmarks/dataplane.py
	python benchmarks/switching.py
	python benchmarks/policy.py
	python benchmarks/services.py
	python benchmarks/services_connect.py
	python benchmarks/ledger.py
	python benchmarks/attach.py

.PHONY: docs
docs: ready ## Write the reference of the variables out of their schema, the changelog out of its fragments
	python tools/generate_reference.py
	antsibull-changelog release --reload-plugins --update-existing

.PHONY: ebpf
ebpf: ready ## Compile the BPF programs into the modules that carry them to the nodes
	python tools/build_ebpf.py

.PHONY: build
build: ready ## The collection as a file that ansible-galaxy installs
	ansible-galaxy collection build --force --output-path build

.PHONY: lock
lock: ready ## Resolve requirements.in into requirements.txt, with hashes
	python -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check pip-tools
	build/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements.txt requirements.in
	build/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --output-file tools/fuzz-requirements.txt tools/fuzz-requirements.in

.PHONY: clean
clean: ## Remove what the other targets have made here (not the lab: make lab-down)
	rm -rf build tests/output .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible collections/ansible_collections .venv
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
