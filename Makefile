# `make` alone prints what there is.

export CGO_ENABLED = 0

# One set of flags for all that is compiled, so that nothing is compiled twice. The
# compiler and the linker collect less garbage, which saves a tenth of their time.
export GOFLAGS := $(strip -trimpath '-toolexec=env GOGC=400' $(GOFLAGS))

GO         ?= go
DIST       ?= dist
FUZZTIME   ?= 10s
DEMO_FLAGS ?=
BENCH_FLAGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## index an image of real files on an embedded registry, verify it, read one file lazily
	@echo 'compiling the command line: a minute or two the first time, then nothing'
	@$(GO) run ./cmd/soci-index-builder demo $(DEMO_FLAGS)

.PHONY: test
test: infra/node_modules/.package-lock.json ## run the tests (needs only Go; without Node.js the stack is not synthesized, its state machine not run)
	@command -v node >/dev/null || echo 'Node.js is not installed: the tests use the committed template and synthesize none'
	@echo 'compiling and running the tests of all packages: a few minutes the first time'
	@$(GO) test -vet=off ./pkg/soci ./internal/deploy ./... # the longest first; make lint vets

# The emulator that runs the state machine, where there is Node.js.
infra/node_modules/.package-lock.json: infra/package-lock.json
	@if command -v npm >/dev/null; then \
		echo 'installing the emulator of Step Functions in infra/node_modules'; \
		(cd infra && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || \
			echo 'npm failed: the tests that run the state machine are skipped'; \
	fi

.PHONY: build
build: ## leave the functions in dist/<arch>/<name>/bootstrap and dist/<arch>/<name>.zip
	@echo 'compiling the functions for both architectures: a minute or two the first time'
	@$(GO) run ./internal/devtools/cmd/mkdist -o $(DIST)

.PHONY: package
package: export BUCKET := $(BUCKET)
package: export PREFIX := $(PREFIX)
package: export REGION := $(REGION)
package: export PROFILE := $(PROFILE)
package: export ARCH := $(ARCH)
package: export STACK := $(STACK)
package: export FILTERS := $(FILTERS)
package: export TEMPLATE := $(TEMPLATE)
package: ## upload the functions to BUCKET and print the command that deploys the plain template (PREFIX= REGION= PROFILE= STACK= FILTERS= ARCH=)
	@echo 'compiling the functions: a minute or two the first time'
	@$(GO) run ./internal/devtools/cmd/mkpackage -o $(DIST) -bucket "$$BUCKET" -prefix "$$PREFIX" -region "$$REGION" -profile "$$PROFILE" \
		-arch "$$ARCH" -stack "$$STACK" -filters "$$FILTERS" -template "$$TEMPLATE"

.PHONY: dist
dist: export VERSION := $(VERSION)
dist: ## leave the archives of a release with their checksums in dist/release (VERSION=1.2.3, else as git describes it)
	@echo 'compiling the functions and the command line for every platform: some minutes the first time'
	@$(GO) run ./internal/devtools/cmd/mkdist -release -version "$$VERSION" -o $(DIST)/release

.PHONY: dist-test
dist-test: ## test that functions, archives and installed programs are right for every platform
	$(GO) test -timeout 30m ./internal/devtools/dist -all

.PHONY: synth
synth diff deploy destroy: export ARCH := $(ARCH)
synth diff deploy destroy: export STACK := $(STACK)
synth: ## write the stack with the functions' code as a CDK cloud assembly to dist/cdk.out; needs Node.js (STACK= ARCH=)
	@echo 'compiling the stack and the functions: some minutes the first time'
	@$(GO) run ./internal/devtools/cmd/cdk synth -o $(DIST) -stack "$$STACK" -arch "$$ARCH"

.PHONY: diff
diff deploy destroy: export REGION := $(REGION)
diff deploy destroy: export PROFILE := $(PROFILE)
diff: ## show what make deploy would change (STACK= REGION= PROFILE= ARCH=)
	@echo 'compiling the stack and the functions: some minutes the first time'
	@$(GO) run ./internal/devtools/cmd/cdk diff -o $(DIST) -stack "$$STACK" -arch "$$ARCH" -region "$$REGION" -profile "$$PROFILE" -- $(CDK_FLAGS)

.PHONY: deploy
deploy: export FILTERS := $(FILTERS)
deploy: export PARAMETERS := $(PARAMETERS)
deploy: ## deploy the stack with CDK (FILTERS='prod/*:*,!*:*-debug' PARAMETERS='LogLevel=DEBUG ...' STACK= REGION= PROFILE= ARCH= CDK_FLAGS=)
	@echo 'compiling the stack and the functions: some minutes the first time'
	@$(GO) run ./internal/devtools/cmd/cdk deploy -o $(DIST) -stack "$$STACK" -arch "$$ARCH" -region "$$REGION" -profile "$$PROFILE" \
		-filters "$$FILTERS" -parameters "$$PARAMETERS" -- $(CDK_FLAGS)

.PHONY: destroy
destroy: ## delete the stack (STACK= REGION= PROFILE=)
	@echo 'compiling the stack: some minutes the first time'
	@$(GO) run ./internal/devtools/cmd/cdk destroy -o $(DIST) -stack "$$STACK" -arch "$$ARCH" -region "$$REGION" -profile "$$PROFILE" -- $(CDK_FLAGS)

.PHONY: install
install: ## install the command line, with the functions in it
	@echo 'compiling the functions and the command line: a minute or two the first time'
	@$(GO) run ./internal/devtools/cmd/mkdist -install

.PHONY: lint
lint: export GOGC = 400
lint: ## gofmt, lines of at most 120 columns, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted: $$out"; exit 1; fi
	@$(GO) test -vet=off ./docs -run 'LinesOfCode$$'
	$(GO) vet ./...
	$(GO) vet -tags inflate_checked ./internal/inflate
	$(GO) vet -tags scripted ./cmd/soci-index-builder
	$(GO) tool staticcheck ./...

.PHONY: generate
generate: ## renew generated files; the tree must be clean afterwards
	$(GO) generate ./...

# Tests that decode or search much by one goroutine, or do the same once for each
# of many cases: the race detector finds nothing more in them, and takes minutes.
SEQUENTIAL = ^(Test(Misread|Golden|Malformed|Bomb|ParallelVerdicts|ParallelLimits|Zeros|TOC|ManyEntries|BuildEnds|Ztoc|Verdicts|Prefetch(Memory|Finds|Bounds|Globs|Kept|ReadBackCut)|Keeps|ManyListed|MemoryOfPathTables|StepsOfPlatforms|PublishFaultsWithPrefetch|ListsAreBounded|FinishedLayers|FileSearch|SkippedLayers|ParseMemory|BytesReadOfZstd)|Fuzz(BuildZtoc|TOC)$$)

# Packages with goroutines of their own. .ci/run takes those in which they share
# the most.
RACE ?= ./pkg/... ./lambdas/filter/... ./lambdas/indexgen/... ./lambdas/reponame/... ./internal/verify ./internal/inspect \
	./internal/testkit/localregistry ./internal/testkit/registrytest ./internal/backfill/... ./internal/cleanup \
	./internal/inventory ./internal/logquery/loginsights ./internal/redrive

.PHONY: race
race: ## run the tests of the concurrent packages under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -timeout 30m -skip "$(SEQUENTIAL)" $(RACE)
	CGO_ENABLED=1 $(GO) test -race -short ./internal/inflate -run 'TestParallel(Kinds|Processors|Memory|Press|Close|BoundaryError|SourceError)$$'

# Tests of pkg/soci in which it matters how a layer is decoded.
DECODING = ^Test(Golden|Malformed|Bad|Bomb|Misread|Verdicts|IndexImage|Build|Cancelled|Failure|Layers|Memory|LyingSize|ManyEntries|Pieces|Skipped|Source|TOC|Zeros|Ztoc)

.PHONY: parallel
parallel: ## test the decoder of several workers in place of the usual one, and hold both against each other on 3,000 streams
	$(GO) test -tags parallel_always ./pkg/soci
	$(GO) test ./internal/inflate -run '^$$' -fuzz FuzzParallel -fuzztime 3000x -fuzzminimizetime 2x
	$(GO) test -tags inflate_checked ./internal/inflate -run '^$$' -fuzz FuzzParallel -fuzztime 1000x -fuzzminimizetime 2x

.PHONY: portable
portable: ## test the decoder's checked variant, and under emulation, where qemu-user is installed, on arm64 and big-endian s390x
	$(GO) test -tags inflate_checked ./internal/inflate
	$(GO) test -tags inflate_checked ./pkg/soci -run '$(DECODING)'
	GOARCH=arm64 $(GO) vet ./internal/inflate ./pkg/soci
	GOARCH=s390x $(GO) vet ./internal/inflate
	@if command -v qemu-aarch64 >/dev/null && command -v qemu-s390x >/dev/null; then set -ex; \
		GOARCH=arm64 $(GO) test -exec qemu-aarch64 ./internal/inflate -run 'TestOutput|TestMalformed|TestResume'; \
		GOARCH=arm64 $(GO) test -exec qemu-aarch64 ./pkg/soci -run 'TestGolden|TestIndexImage'; \
		GOARCH=s390x $(GO) test -exec qemu-s390x ./internal/inflate -run 'TestOutput|TestMalformed'; \
	else echo 'no emulation: qemu-user is not installed'; fi

.PHONY: fuzz
fuzz: ## run each fuzz test for FUZZTIME (10s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: conformance
conformance: ## compare every byte with upstream's library (needs a C compiler and zlib's static library)
	@echo 'int main(void) { return 0; }' | $${CC:-cc} -x c - -o /dev/null -l:libz.a 2>/dev/null || \
		{ echo "conformance needs a C compiler and zlib's static library: apt-get install gcc zlib1g-dev"; exit 1; }
	CGO_ENABLED=1 $(GO) vet -tags conformance ./internal/testkit/conformance/... ./internal/demo
	CGO_ENABLED=1 $(GO) test -tags conformance ./internal/testkit/conformance/...
	CGO_ENABLED=1 $(GO) test -tags conformance,parallel_always ./internal/testkit/conformance -skip '^Test(Golden|Differences)$$' # without ours
	CGO_ENABLED=1 $(GO) test -tags conformance ./internal/demo -run Snapshotter
	@# the tag leaves out what imports packages whose instrumenting takes minutes
	CGO_ENABLED=1 $(GO) test -tags conformance,fuzzing ./internal/testkit/conformance -run '^$$' -fuzz FuzzZtoc -fuzztime 3000x -fuzzminimizetime 2x

.PHONY: bench
bench: ## measure, beside upstream's library, zlib and libdeflate where they are installed (BENCH_FLAGS=-h lists flags)
	@tags=; cgo=0; \
	if echo 'int main(void) { return 0; }' | $${CC:-cc} -x c - -o /dev/null -l:libz.a 2>/dev/null; then \
		cgo=1; tags=conformance; \
		if printf '#include <libdeflate.h>\nint main(void) { return libdeflate_alloc_decompressor() == 0; }\n' | \
			$${CC:-cc} -x c - -o /dev/null -ldeflate 2>/dev/null; then tags=$$tags,libdeflate; fi; \
	else echo "without upstream's library and zlib: they need a C compiler and zlib's static library (apt-get install gcc zlib1g-dev)"; fi; \
	echo 'compiling the benchmark: a minute or two the first time'; \
	CGO_ENABLED=$$cgo $(GO) run -tags "$$tags" ./internal/devtools/cmd/bench $(BENCH_FLAGS)

.PHONY: clean
clean: ## remove what make build left
	rm -rf $(DIST)
