# The commands people type. Everything is built from here; `make demo` and `make test` do all their own set-up.
SHELL := /bin/bash
PREFIX ?= /usr/local
# Debug builds compile C without optimisation unless told otherwise.
BUILD := swift build -Xcc -O3
KILN := .build/release/kiln
comma := ,
BENCH := cd bench && swift run -c release -Xcc -O3 kiln-bench

.PHONY: all setup openblas opencl build test demo bench bench-peers bench-train bench-memory bench-compress bench-diff bench-test install libkiln clean

all: build

setup:
	@scripts/setup.sh

# What fp32 products are compared with.
openblas: setup
	@scripts/setup.sh libopenblas0-pthread 2> /dev/null || echo "note: no libopenblas0-pthread: what needs it is left out"

# A device for the tests of OpenCL: the CPU itself.
opencl: setup
	@scripts/setup.sh ocl-icd-opencl-dev pocl-opencl-icd 2> /dev/null || echo "note: no pocl-opencl-icd: tests of OpenCL are left out"

build: setup
	$(BUILD) -c release --product kiln

# Tests are built with optimisation: the plain loops that they compare with run over many elements.
test: openblas opencl
	swift build --build-tests -Xcc -O2 -Xswiftc -O
	swift test --skip-build -Xcc -O2 -Xswiftc -O

demo: build
	@KILN=$(KILN) scripts/demo.sh

# make bench [ONLY=gemm,step] [DEVICE=opencl:0] [ARGS=--quick]; bench/README.md tells how it measures.
bench: setup
	$(BENCH) run $(if $(ONLY),--only $(ONLY)) $(if $(DEVICE),--device $(DEVICE)) $(ARGS)

bench-peers: openblas
	bench/Peers/setup.sh
	$(BENCH) run --peers $(if $(ONLY),--only $(ONLY)) $(ARGS)

# make bench-train ONLY=optimizers [ARGS="--match lion"]: hours; goes on where it was stopped.
bench-train: setup
	$(BENCH) train $(subst $(comma), ,$(ONLY)) $(ARGS)

# make bench-memory [ONLY=forecast,frontier]: plans against what runs take of memory and time; tens of minutes.
bench-memory: setup
	$(BENCH) memory $(subst $(comma), ,$(ONLY)) $(ARGS)

# That the bench builds, the tests of its harness, and a training experiment of seconds.
bench-test: setup
	cd bench && swift build -Xcc -O1 && swift test -Xcc -O1

# make bench-compress [ARGS="--seconds 60"]: widths trained alike, then pruned and rounded; a quarter of an hour.
bench-compress: setup
	$(BENCH) compress $(ARGS)

# make bench-diff A=bench/Results/OLD.json B=bench/Results/NEW.json
bench-diff: setup
	@$(BENCH) diff $(abspath $(A)) $(abspath $(B))

# The C library for other languages: libkiln.so needs libomp and libc alone.
libkiln: setup
	@scripts/libkiln.sh .build/libkiln

install: build libkiln
	install -D $(KILN) $(DESTDIR)$(PREFIX)/bin/kiln
	install -D -m 644 .build/libkiln/libkiln.so $(DESTDIR)$(PREFIX)/lib/libkiln.so
	install -d $(DESTDIR)$(PREFIX)/include/kiln $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 include/kiln.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 include/kiln/*.h $(DESTDIR)$(PREFIX)/include/kiln/
	sed 's|@PREFIX@|$(PREFIX)|' scripts/kiln.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/kiln.pc

clean:
	rm -rf .build bench/.build demo
