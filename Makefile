# `make demo` and `make test` set up everything by themselves on a fresh Debian or Raspberry Pi OS.

PYTHON ?= $(firstword $(foreach v,python3.11 python3.12 python3.13 python3,$(shell command -v $(v) 2>/dev/null)))
VENV   := .venv
RUN    := $(VENV)/bin
PARITY := .venv-parity
# Shared libraries that no PyPI wheel carries on Linux: the voice, and the sound device.
DEBIAN := libespeak-ng.so.1:libespeak-ng1 libportaudio.so.2:libportaudio2 libspeexdsp.so.1:libspeexdsp1
# The tests plug and unplug the devices of a sound server of their own.
DEBIAN_DEV := pulseaudio:pulseaudio pactl:pulseaudio-utils libasound_module_pcm_pulse.so:libasound2-plugins

.DEFAULT_GOAL := help
.PHONY: docs/configuration.md help demo test lint parity pocket-eval bench-e2b bench-endpointing bench-commands bench-hearing bench-questions bench-talk soak-silence soak-day soak-dialogues soak-service offline-proof fuzz-config kill-builds prove-arm64 prove-a76 full-size plant-faults setup setup-dev system system-dev clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## spoken questions get their spoken answers, with what happened when
	$(RUN)/edge-assistant ask assets/demo/timer.wav assets/demo/left.wav --say answer.wav
	@echo "The replies are in answer.wav."

test: setup-dev lint ## lint, strict typing and the whole suite
	$(RUN)/python -m pytest

lint: setup-dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/pyright

parity: setup-dev $(PARITY)/ready ## recompute the stored references with transformers in float64 and compare; test pocket's trainer
	$(PARITY)/bin/python tests/parity/make_references.py --check
	$(PARITY)/bin/python tests/parity/make_adapter_references.py --check
	$(PARITY)/bin/python assets/pocket/recipe/quick.py assets/pocket/checkpoint
	$(PARITY)/bin/python -m pytest tests/parity/recipe.py
	$(PARITY)/bin/python tests/parity/make_drafter_references.py --check

SETS ?= pocket-sets
pocket-eval: setup-dev ## pocket on voices it has never heard; SETS=FOLDER, made as assets/pocket/recipe/README.md says
	@ls $(SETS)/test-*/manifest.jsonl >/dev/null 2>&1 || { \
	  echo "no test sets in $(SETS); make them as assets/pocket/recipe/README.md says and name the folder: make pocket-eval SETS=FOLDER" >&2; exit 2; }
	$(RUN)/python assets/pocket/recipe/evaluate.py $(SETS)/test-* --bundle assets/pocket/bundle
	$(RUN)/python assets/pocket/recipe/evaluate.py $(SETS)/test-* --bundle assets/pocket/bundle --snr 10

soak-silence: setup ## an hour of silence and of soft noise: no answer, flat memory
	$(RUN)/python tests/soak/silence.py 60

soak-day: setup ## 24 hours on the simulated clock through the real loop: every question answered, flat memory
	$(RUN)/python tests/soak/day.py $(OPTIONS)

soak-dialogues: setup-dev ## ten thousand random conversations on the simulated clock, each replayed
	$(RUN)/python tests/soak/dialogues.py $(OPTIONS)

plant-faults: setup-dev ## faults planted in the loop: each must be caught by a conversation
	$(RUN)/python -m pytest tests/loop/test_planted_faults.py

bench-talk: setup-dev ## at a real sound server: delay at the ear, barge-in, stop, echo, pulled plugs, the cost of waiting; OPTIONS, e.g. "idle --minutes 1"
	$(RUN)/python tests/bench/talk/bench.py $(OPTIONS)

fuzz-config: setup-dev ## 10,000 altered and invented configuration files: refused in one line, or meant as they say
	$(RUN)/python tests/config/fuzz.py 10000

docs/configuration.md: setup-dev # its list of every key, from the code
	$(RUN)/python tests/config/document.py $@

prove-arm64: setup ## the USB-stick bundle on an emulated arm64 Debian trixie, no network inside (root; half an hour); OPTIONS, e.g. "--work FOLDER"
	tests/deploy/prove-arm64 $(OPTIONS)

prove-a76: setup-dev ## a Pi 5's processor core, emulated: which instructions the large products take, and how many; OPTIONS, e.g. "--work FOLDER"
	$(RUN)/python tests/bench/a76/prove.py $(OPTIONS)

soak-service: setup-dev ## the service under a real systemd, from its installation to its removal, through every trouble; root, 2 GB; OPTIONS, e.g. "--kills 5 faults"
	$(RUN)/python tests/soak/service.py $(OPTIONS)

offline-proof: setup-dev ## twenty turns of ask, talk and serve without a network interface, every socket traced; root, strace
	$(RUN)/python tests/soak/offline.py $(OPTIONS)

kill-builds: setup-dev ## kill -9 a build 30 times at random; a plain re-run gives the same bundle
	KILLS=30 $(RUN)/python -m pytest tests/models/test_build.py -k killed_at_random

bench-e2b: setup-dev ## speed and memory at E2B's shape beside llama.cpp; OPTIONS, e.g. "--work FOLDER --threads 1 --json"
	$(RUN)/python tests/bench/e2b/bench.py $(OPTIONS)

full-size: setup-dev ## builds of E2B's real size from safetensors and GGUF, then ask; OPTIONS, e.g. "e4b --work FOLDER"
	$(RUN)/python tests/bench/fullsize.py $(OPTIONS)

bench-echo: setup-dev ## hours of replies in simulated rooms: turns of our own, interruptions found; OPTIONS, e.g. "--minutes 2"
	$(RUN)/python tests/bench/echo.py $(OPTIONS)

bench-questions: setup-dev ## 200 pairs of a question and a command for pocket: what does a question do?
	$(RUN)/python tests/bench/questions.py $(OPTIONS)

bench-commands: setup-dev ## “stop” without the model: hits, false alarms, delay; OPTIONS="--sets pocket-sets --kokoro MODEL VOICES"
	$(RUN)/python tests/bench/commands.py $(OPTIONS)

bench-hearing: setup-dev ## which turns are asked for again, on recordings of people; SETS=FOLDER
	$(RUN)/python tests/bench/hearing.py $(SETS)/test-people $(OPTIONS)

bench-endpointing: setup-dev ## false cut-offs against delay on recordings of people in noise, for both detectors
	$(RUN)/python tests/bench/endpointing.py $(OPTIONS)

# Debian packages (FILE:PACKAGE), asked for in one clear line where we may not install them ourselves.
define install
	@for pair in $(1); do \
	  file="$${pair%%:*}"; \
	  command -v "$$file" >/dev/null || ldconfig -p | grep -qF "$$file" || ls /usr/lib/*/alsa-lib/"$$file" >/dev/null 2>&1 \
	    || missing="$$missing $${pair#*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
	  else echo "missing Debian packages; run: sudo apt install$$missing" >&2; exit 1; fi; \
	fi
endef

system:
	$(call install,$(DEBIAN))
system-dev:
	$(call install,$(DEBIAN) $(DEBIAN_DEV))

setup: system $(VENV)/ready
setup-dev: system-dev $(VENV)/ready-dev

$(VENV)/ready: pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "no Python found; run: sudo apt install python3 python3-venv" >&2; exit 1; }
	@[ -x $(RUN)/python ] || $(PYTHON) -m venv $(VENV) || { echo "no venv module; run: sudo apt install python3-venv" >&2; exit 1; }
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready pyproject.toml
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'pipecat-ai>=1.0'
	@touch $@

$(PARITY)/ready: pyproject.toml
	@[ -x $(PARITY)/bin/python ] || $(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) transformers==5.23.0 peft==0.21.2 safetensors numpy scipy ml-dtypes pytest
	@touch $@

# The CPU build is enough; a machine that has another torch may name it.
TORCH ?= torch==2.13.0

clean: ## remove the environments
	rm -rf $(VENV) $(PARITY)
