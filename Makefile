# Everything here sets up what it needs by itself: Python 3.11 or newer and a network will do.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,$(shell $(name) -c 'import sys; print("$(name)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
ifeq ($(PYTHON),)
$(error Python 3.11 or newer is needed and none is on the PATH: install it, or run `make PYTHON=/path/to/python3 ...`)
endif

.DEFAULT_GOAL := help
.PHONY: help demo example test test-updates test-latest release bench bench-queue chaos clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

demo:  ## generate a service and run it until Ctrl-C; PRESET=minimal|standard|full PORT=8000 DIR=folder-to-keep
	@$(PYTHON) -m scripts.demo --preset '$(PRESET)' --port '$(PORT)' --dir '$(DIR)'

example:  ## generate a system of examples/ and run it until Ctrl-C; NAME=deferred-execution-helper ENGINE=rabbitmq|bullmq PORT=8080 DIR=folder-to-keep
	@$(PYTHON) -m scripts.example --name '$(NAME)' --engine '$(ENGINE)' --port '$(PORT)' --dir '$(DIR)'

test:  ## everything that is tested; STEPS="lint types" for some of it
	@$(PYTHON) -m scripts.check $(STEPS)

test-updates:  ## every recorded release, preset and edit updated to this tree; every part on and off
	@$(PYTHON) -m scripts.check updates

test-latest:  ## the newest versions the caps allow, tested; and which cap could move; LATEST="--report" only says
	@$(PYTHON) -m scripts.latest $(LATEST)

release:  ## check, write down, commit and tag a release; VERSION=1.2.3
	@.venv/bin/python -m scripts.release '$(VERSION)'

bench:  ## every measurement; BENCH="overhead" for some of them
	@$(PYTHON) -m scripts.bench $(BENCH)

bench-queue: BENCH = queue
bench-queue: bench  ## the queue engines beside their peers

chaos:  ## kill workers and servers under load and count the jobs; CHAOS="--engine rabbitmq --drill sigkill due --jobs 1000 --kills 10" for less
	@$(PYTHON) -m scripts.chaos $(CHAOS)

clean:  ## remove the environment, the tools and every cache
	rm -rf .venv .cache
