# Makefile: `make` builds build/bertft; `make help` lists the rest.
#
# Everything lands in $(BUILD). src/ is compiled once; kernels/ref twice (float, double), kernels/cpu once for each instruction set.

BUILD   ?= build
CC      ?= cc
VARIANT_FLAGS ?=
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wpointer-arith -Wconversion -Werror
PKGS    := yaml-0.1 zlib libutf8proc jansson
BASE    := -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -I. -pthread $(WARN) $(VARIANT_FLAGS) $(shell pkg-config --cflags $(PKGS))
LDLIBS  := $(shell pkg-config --libs $(PKGS)) -ldl -lm -pthread
MACHINE := $(shell uname -m)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

# ---- The library: all of src/ but main.c, and the kernels ----
SRC     := $(filter-out src/cli/main.c,$(sort $(wildcard src/*/*.c)))
REF     := $(sort $(wildcard kernels/ref/*.c))
CPU     := $(sort $(wildcard kernels/cpu/*.c))
ISAS    := generic
ifeq ($(MACHINE),x86_64)
ISAS    += avx2 avx512 avx512vnni amx
endif
ifeq ($(MACHINE),aarch64)
ISAS    += neondot
endif
FLAGS_generic :=
FLAGS_avx2    := -mavx2 -mfma -mf16c
FLAGS_avx512  := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mprefer-vector-width=512
FLAGS_avx512vnni := $(FLAGS_avx512) -mavx512vnni
FLAGS_amx     := $(FLAGS_avx512vnni) -mamx-tile -mamx-int8 -mamx-bf16 -DBFT_TILES
FLAGS_neondot := -march=armv8.2-a+dotprod

KERNELS := $(patsubst %,$(BUILD)/kernels/%.o,ops peak plugin profile) $(REF:%.c=$(BUILD)/%.float.o) $(REF:%.c=$(BUILD)/%.double.o) \
           $(foreach isa,$(ISAS),$(CPU:%.c=$(BUILD)/%.$(isa).o))
OBJ     := $(SRC:%.c=$(BUILD)/%.o) $(KERNELS)
LIB     := $(BUILD)/libbertft.a

all: $(BUILD)/bertft ## build build/bertft (the default)

$(BUILD)/bertft: $(BUILD)/src/cli/main.o $(LIB)
	$(CC) $(VARIANT_FLAGS) -o $@ $^ $(LDLIBS)

$(LIB): $(OBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/%.o: %.c | flags
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/kernels/ref/%.float.o: kernels/ref/%.c | flags
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -DBFT_REAL=float -DBFT_REF=ref -MMD -MP -c -o $@ $<

$(BUILD)/kernels/ref/%.double.o: kernels/ref/%.c | flags
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -DBFT_REAL=double -DBFT_REF=ref64 -MMD -MP -c -o $@ $<

$(BUILD)/tests/objects/%.o: tests/ops/%.c | flags
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -MMD -MP -c -o $@ $<

# Kernels for the CPU: one object an instruction set; BFT_ISA names its symbols. Contraction to FMA is wanted here.
define CPU_RULE
$(BUILD)/kernels/cpu/%.$(1).o: kernels/cpu/%.c | flags
	@mkdir -p $$(@D)
	$(CC) $(BASE) $(CFLAGS) -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math $(FLAGS_$(1)) -DBFT_ISA=$(1) -MMD -MP -c -o $$@ $$<
endef
$(foreach isa,$(ISAS),$(eval $(call CPU_RULE,$(isa))))

# ---- The CUDA backend: a library of its own; and the same sources on a host shim, which proves them without a GPU ----
CUDA    := $(sort $(wildcard kernels/cuda/*.cu))
RUNTIME := kernels/cuda/runtime.cu kernels/cuda/product.cu # what the shim replaces
LIBRARIES := $(sort $(wildcard kernels/cuda/*.cc)) # and these, which have no kernels
SIM     := $(patsubst %.cu,$(BUILD)/sim/%.o,$(filter-out $(RUNTIME),$(CUDA))) \
           $(patsubst %,$(BUILD)/sim/tests/cudasim/%.o,sim runtime cudnn) $(BUILD)/sim/src/base/error.o
SIMCXX  := $(CXX) -std=c++17 -D_GNU_SOURCE -DBFT_CUDASIM -Iinclude -Isrc -I. -fPIC -fvisibility=hidden -ffp-contract=off \
           -Wall -Wextra -Werror $(VARIANT_FLAGS) $(CFLAGS) -MMD -MP

$(BUILD)/sim/%.o: %.cu | flags
	@mkdir -p $(@D)
	$(SIMCXX) -x c++ -c -o $@ $<

$(BUILD)/sim/%.o: %.cc | flags
	@mkdir -p $(@D)
	$(SIMCXX) -c -o $@ $<

$(BUILD)/sim/%.o: %.c | flags
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

$(BUILD)/libbertft_cudasim.so: $(SIM)
	$(CXX) $(VARIANT_FLAGS) -shared -o $@ $^

# Once more, with each access of the kernels to memory told to tests/cudasim/trace.cc by the compiler's hooks for ThreadSanitizer,
# which therefore goes with no other sanitizer. So compiled, an access in the source stays one access.
TRACED  := $(patsubst $(BUILD)/sim/%,$(BUILD)/traced/%,$(filter-out $(BUILD)/sim/src/%,$(SIM))) \
           $(BUILD)/traced/tests/cudasim/trace.o $(filter $(BUILD)/sim/src/%,$(SIM))
TRACECXX := $(filter-out $(VARIANT_FLAGS) $(CFLAGS),$(SIMCXX))

$(BUILD)/traced/%.o: %.cu | flags
	@mkdir -p $(@D)
	$(TRACECXX) -O1 -g -fno-inline -fno-tree-sra -fno-thread-jumps -fsanitize=thread -x c++ -c -o $@ $<

$(BUILD)/traced/%.o: %.cc | flags
	@mkdir -p $(@D)
	$(TRACECXX) -O2 -g -c -o $@ $<

$(BUILD)/traced/libbertft_cudasim.so: $(TRACED)
	$(CXX) -shared -Wl,-z,defs -o $@ $^

$(BUILD)/traced/test_trace: $(patsubst %,$(BUILD)/traced/tests/cudasim/%.o,test_trace sim trace)
	$(CXX) -o $@ $^

$(BUILD)/traced/ops: $(BUILD)/tests/ops $(BUILD)/traced/libbertft_cudasim.so # a backend is looked for beside its program
	cp $< $@

cuda-trace: $(BUILD)/traced/ops ## count bank conflicts and uncoalesced accesses on the host shim, into docs/cuda.md (minutes)
	BERTFT_SIM_TRACE=$(BUILD)/traced/accesses $(BUILD)/traced/ops --backend cudasim
	python3 scripts/trace-table.py $(BUILD)/traced/accesses $(BUILD)/traced/libbertft_cudasim.so

# All architectures that this nvcc knows from 7.5 up, and PTX of the last for those to come; CUDA_ARCH=sm_90 takes one.
NVCC      ?= nvcc
CUDA_ARCH ?= $(patsubst compute_%,sm_%,$(shell $(NVCC) --list-gpu-arch))
CUDA_NUMBERS = $(shell printf '%s\n' $(CUDA_ARCH:sm_%=%) | sort -n | awk '$$1 >= 75')
CUDA_CODE = $(foreach n,$(CUDA_NUMBERS),-gencode arch=compute_$n,code=sm_$n) \
            $(foreach n,$(lastword $(CUDA_NUMBERS)),-gencode arch=compute_$n,code=compute_$n)
CUDA_OBJ := $(CUDA:%.cu=$(BUILD)/nvcc/%.o) $(LIBRARIES:%.cc=$(BUILD)/nvcc/%.o)
NVCCFLAGS := -std=c++17 -O3 -lineinfo -D_GNU_SOURCE -Iinclude -Isrc -I. -isystem $(BUILD)/cuda/include -Werror all-warnings \
             -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden

cuda: $(BUILD)/libbertft_cuda.so ## build the CUDA backend (needs nvcc 12 or 13, no GPU; CUDA_ARCH=sm_90 narrows it)

$(BUILD)/cuda/ready-2: scripts/setup-cuda.sh
	sh $< $(@D) $(NVCC)
	@touch $@

# Dense and lagging rows must give the same bits (adamw.cuh): no contraction there.
$(BUILD)/nvcc/kernels/cuda/adamw%: NVCCFLAGS += -fmad=false

$(BUILD)/nvcc/%.o: %.cu | $(BUILD)/cuda/ready-2
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS) $(CUDA_CODE) -MMD -MP -c -o $@ $<

# cuDNN's frontend is 30,000 lines of templates that wait for cuDNN: -O3 takes minutes over it.
$(BUILD)/nvcc/%.o: %.cc | $(BUILD)/cuda/ready-2
	@mkdir -p $(@D)
	$(NVCC) $(NVCCFLAGS:-O3=-O1) -MMD -MP -c -o $@ $<

$(BUILD)/libbertft_cuda.so: $(CUDA_OBJ) $(BUILD)/sim/src/base/error.o
	$(NVCC) -shared -o $@ $^ -Xcompiler -static-libstdc++,-static-libgcc -Xlinker --exclude-libs,ALL

# ---- Tests: each tests/unit/test_*.c is a cmocka program; tests/golden/test_golden.c and tests/ops are one program each ----
UNIT    := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c)) \
           $(patsubst tests/golden/%.c,$(BUILD)/tests/%,$(wildcard tests/golden/test_*.c))
PROBES  := $(patsubst tests/parity/%.c,$(BUILD)/tests/%,$(wildcard tests/parity/*.c))

$(BUILD)/tests/test_allocations: LDLIBS += $(foreach name,malloc calloc realloc aligned_alloc,-Wl,--wrap=$(name))

$(BUILD)/tests/test_%: $(BUILD)/tests/unit/test_%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(VARIANT_FLAGS) -o $@ $^ -lcmocka $(LDLIBS)

$(BUILD)/tests/test_%: $(BUILD)/tests/golden/test_%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(VARIANT_FLAGS) -o $@ $^ $(LDLIBS)

# The op table runs on bare machines too: kernels, and what they stand on, and no library but libc, libm and pthread.
OPS     := $(patsubst tests/ops/%.c,$(BUILD)/tests/objects/%.o,$(wildcard tests/ops/*.c)) $(KERNELS) \
           $(patsubst %,$(BUILD)/src/base/%.o,arena error philox thread)

$(BUILD)/tests/ops: $(OPS)
	$(CC) $(VARIANT_FLAGS) -o $@ $^ -lm -ldl -pthread

$(BUILD)/tests/%: $(BUILD)/tests/parity/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(VARIANT_FLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/bench/%: bench/%.c $(filter-out $(BUILD)/tests/%,$(OPS))
	@mkdir -p $(@D)
	$(CC) $(BASE) $(CFLAGS) -ffp-contract=fast -o $@ $^ -lm -pthread

# ---- What scripts/gpu-check.sh takes to machines without our libraries: these are linked statically, libc is not ----
GPU     := $(addprefix $(BUILD)/gpu/,bertft ops golden infer)
STATIC  := -Wl,-Bstatic $(shell pkg-config --libs $(PKGS)) -Wl,-Bdynamic -ldl -lm -pthread

$(BUILD)/gpu/bertft: $(BUILD)/src/cli/main.o $(LIB)
$(BUILD)/gpu/ops: $(OPS)
$(BUILD)/gpu/golden: $(BUILD)/tests/golden/test_golden.o $(LIB)
$(BUILD)/gpu/infer: $(BUILD)/bench/infer.o $(LIB)

$(GPU):
	@mkdir -p $(@D)
	$(CC) $(VARIANT_FLAGS) -o $@ $^ $(STATIC)

gpu-programs: $(GPU) ## the programs of scripts/gpu-check.sh, which need libc, the plugin and CUDA only
	@! readelf -d $(GPU) | grep NEEDED | grep -vE 'lib(c|m|dl|pthread|asan|ubsan)\.so|ld-linux'
	@echo "need glibc $$(objdump -T $(GPU) | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1 | cut -d _ -f 2) or newer"

tests: $(UNIT) $(BUILD)/tests/ops $(BUILD)/libbertft_cudasim.so $(BUILD)/traced/test_trace gpu-programs ## build the tests

test: all tests ## run all tests: unit, golden, op table (CUDA's kernels on the host shim), end to end
	@set -e; for test in $(UNIT); do $$test; done
	$(BUILD)/tests/ops
	$(BUILD)/tests/test_golden cudasim cudasim-bf16 cudasim-fp16
	@set -e; for values in "" -bf16 -fp16; do BERTFT_SIM_ORDER=1 $(BUILD)/tests/ops --backend cudasim$$values; done
	$(BUILD)/traced/test_trace
	BERTFT=$(BUILD)/bertft python3 -m pytest -q -p no:cacheprovider tests/e2e

wide: ## the op table on AVX-512's 16-lane code, compiled for AVX2, bf16 in pairs; for int8 in bytes; and on AMX's, emulated
	$(MAKE) BUILD=build/wide FLAGS_avx2="$(FLAGS_avx2) -DBFT_LANES=16 -DBFT_BF16_PAIRS -Wno-psabi" build/wide/tests/ops
	build/wide/tests/ops --backend cpu-avx2
	build/wide/tests/ops --backend cpu-avx2-bf16
	$(MAKE) BUILD=build/wide-bytes FLAGS_avx2="$(FLAGS_avx2) -DBFT_LANES=16 -DBFT_INT8_BYTES -Wno-psabi" build/wide-bytes/tests/ops
	build/wide-bytes/tests/ops --backend cpu-avx2 --op linear_prepared
	$(MAKE) BUILD=build/wide-tiles FLAGS_avx2="$(FLAGS_avx2) -DBFT_LANES=16 -DBFT_INT8_BYTES -DBFT_TILES -Wno-psabi \
	    -include tests/ops/amx.h" build/wide-tiles/tests/ops
	build/wide-tiles/tests/ops --backend cpu-avx2 --op linear_prepared
	build/wide-tiles/tests/ops --backend cpu-avx2-bf16

neon: ## the op table on 64-bit Arm's NEON, compiled by a cross compiler and run by qemu
	$(MAKE) BUILD=build/neon CC=aarch64-linux-gnu-gcc MACHINE=aarch64 build/neon/tests/ops
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon/tests/ops --short --backend cpu-neondot
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon/tests/ops --short --backend cpu-generic
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon/tests/ops --short --backend cpu-neondot-bf16

$(BUILD)/bench/tokenize: $(BUILD)/bench/tokenize.o $(LIB)
	$(CC) $(VARIANT_FLAGS) -o $@ $^ $(LDLIBS)

# The venv is made where PYTHON names no interpreter that has everything.
BENCH   ?= full
DATA    ?= ../shared/data
VENV    := $(BUILD)/bench-venv

$(VENV)/ready: bench/requirements.txt
	rm -rf $(VENV)
	python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet $$(grep '^torch==' $<) # first: what needs it takes what is there
	$(VENV)/bin/python -m pip install --quiet -r $<
	@touch $@

bench: all bench-programs $(if $(PYTHON),,$(VENV)/ready) ## bertft beside PyTorch, ONNX Runtime, tokenizers (BENCH=quick, DATA=, PYTHON=, PAGE=)
	$(or $(PYTHON),$(VENV)/bin/python) bench/run.py --build $(BUILD) --data $(DATA) $(if $(filter quick,$(BENCH)),--quick) \
		--json $(BUILD)/bench/table.json $(if $(PAGE),--page $(PAGE))

bench-steps: all $(if $(PYTHON),,$(VENV)/ready) ## what a training step costs, against tokens and vocabulary (PYTHON=, PLOT=file.svg)
	$(or $(PYTHON),$(VENV)/bin/python) bench/step_cost.py --build $(BUILD) $(if $(PLOT),--plot $(PLOT))

bench-programs: $(BUILD)/gpu/infer $(patsubst %,$(BUILD)/bench/%,tokenize gemm product handover)

bench-gemm: $(BUILD)/bench/gemm ## how fast the matrix products are on encoders' shapes
	$(BUILD)/bench/gemm

demo: all ## fine-tune on the sample, evaluate, read the sample dialogues
	$(BUILD)/bertft train configs/params.yaml --overwrite
	$(BUILD)/bertft eval
	$(BUILD)/bertft predict --format table data/dialogs.txt

lint: ## layers of every #include, formatting of names: scripts/lint.py
	python3 scripts/lint.py

asan: ## the whole suite under AddressSanitizer with leak check
	$(MAKE) BUILD=build/asan VARIANT_FLAGS="-fsanitize=address -fno-omit-frame-pointer" CFLAGS="-O1 -g" test

ubsan: ## the whole suite under UndefinedBehaviorSanitizer
	$(MAKE) BUILD=build/ubsan VARIANT_FLAGS="-fsanitize=undefined -fno-sanitize-recover=undefined" CFLAGS="-O1 -g" test

parity: all $(PROBES) ## compare with transformers, tokenizers and PyTorch (makes a virtual environment under build/)
	sh tests/parity/run.sh $(BUILD)

parity-full: all $(PROBES) ## the eleven models' shapes at full size against transformers (8 GB of memory, minutes)
	sh tests/parity/setup.sh build/parity-venv
	OMP_NUM_THREADS=2 build/parity-venv/bin/python tests/parity/models_full.py --build $(BUILD)

fuzz: ## each libFuzzer target for a minute (needs clang)
	sh tests/fuzz/run.sh

.PHONY: all cuda cuda-trace flags clean help tests test gpu-programs wide neon bench bench-programs bench-gemm bench-steps demo lint asan ubsan parity parity-full fuzz
flags: ;

clean: ## remove build/
	rm -rf build

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
