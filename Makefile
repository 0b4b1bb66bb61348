# The table of contents: every target is a line that a person could type.
CARGO ?= cargo
SEEDS ?= 500
SCHEDULES ?= 5000
SECONDS ?= 1
CHAOS ?= 20

.PHONY: help setup build demo test lint sim twins explore fuzz mutants soak bench docs clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## installs what the build needs and this machine lacks
	@sh ops/setup.sh

build: setup ## builds both binaries
	$(CARGO) build --release --locked --bins

demo: build ## a network, a transfer across shards with its receipt, a quick sweep and its report
	@sh ops/demo.sh

test: setup ## all tests, simulated networks, twins, the explorer, bent bytes, and the planted bugs
	$(CARGO) test --release --locked --workspace
	$(MAKE) --no-print-directory sim
	$(MAKE) --no-print-directory sim SEEDS=40 CHAOS=600
	$(MAKE) --no-print-directory twins
	$(MAKE) --no-print-directory explore
	$(MAKE) --no-print-directory fuzz
	$(MAKE) --no-print-directory mutants

lint: setup ## formats and lints, as CI does
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --release --locked -p lockstep-sim --features mutants --all-targets -- -D warnings

sim: ## SEEDS=N simulated networks with CHAOS=N seconds of faults
	$(CARGO) run --release --locked -q -p lockstep-sim --bin lockstep-sim -- --seeds $(SEEDS) --seconds $(CHAOS)

twins: ## SCHEDULES=N schedules of a committee in which two replicas share one key
	$(CARGO) run --release --locked -q -p lockstep-sim --bin twins -- --schedules $(SCHEDULES)

explore: ## every state of four members, one of them a liar, up to a depth
	$(CARGO) run --release --locked -q -p lockstep-sim --bin explore

fuzz: ## bent bytes for SECONDS=N per target
	$(CARGO) run --release --locked -q -p lockstep-sim --bin fuzz -- --seconds $(SECONDS)

mutants: ## plants one bug after the other; somebody must notice each
	$(CARGO) test --release --locked -q -p lockstep-sim --features mutants --lib --test explorer --test twins \
		-- each_notices_its_bug planted_bugs_are_noticed
	$(CARGO) run --release --locked -q -p lockstep-sim --features mutants --bin mutants

soak: setup ## MINUTES=N of faults in real processes, or KILLS=N BLACKOUTS=N LEADERS=N; SEED=N repeats
	$(CARGO) test --release --locked -p lockstep-tests --test it -- soak \
		$(foreach what,MINUTES KILLS BLACKOUTS LEADERS SEED,$(if $($(what)),--$(shell echo $(what) | tr A-Z a-z) $($(what))))

bench: setup ## micro-benchmarks
	$(CARGO) bench --locked -p lockstep-bench

docs: setup ## the crates' documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps

clean: ## removes what was built
	$(CARGO) clean
