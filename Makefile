# Two commands set everything up on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BUILD  := build
MODEL  := $(BUILD)/cerebras-gpt-111m.onnx
TOKENS := 16

.PHONY: demo test test-slow lint clean

# Export Cerebras-GPT 111M, compile it for the CS-2, prove the image legal, run it, compare it with onnxruntime.
demo: $(VENV)/ready $(MODEL)
	$(BIN)/wsec compile $(MODEL) -o $(BUILD)/fp32.wse
	$(BIN)/wsec validate $(BUILD)/fp32.wse
	$(BIN)/wsec inspect $(BUILD)/fp32.wse --picture
	$(BIN)/wsec run $(BUILD)/fp32.wse --tokens 15496,11,995 -o $(BUILD)/logits.npz
	$(BIN)/wsec check $(MODEL) $(BUILD)/fp32.wse --tokens $(TOKENS)
	$(BIN)/wsec compile $(MODEL) -o $(BUILD)/fp16.wse --precision fp16
	$(BIN)/wsec check $(MODEL) $(BUILD)/fp16.wse --tokens $(TOKENS)

$(MODEL): | $(VENV)/ready
	mkdir -p $(BUILD)
	$(BIN)/wsec export -m cerebras-gpt-111m -o $@

test: $(VENV)/ready
	$(BIN)/python -m pytest

# The published shapes that are awkward to cut, at full vocabulary: minutes and several GB.
test-slow: $(VENV)/ready
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[gpt,dev]'
	touch $@

clean:
	rm -rf $(BUILD)
