# The targets of everyday work. README.md has the two commands of set-up.
GO      ?= go
BIN     := bin/granary
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: all build run cluster test unit check e2e chaos fsx programs posix bench s3bench blockbench metabench golden fuzz generate clean

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/granary

run:
	bash deploy/quickstart.sh

cluster: build
	$(BIN) serve dev-cluster --masters 3 --volumes 6

# Everything that CI runs.
test:
	bash tests/run.sh

unit:
	$(GO) test ./...

check:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags e2e ./tests/...
	$(GO) run $(STATICCHECK) -tags e2e ./...
	$(GO) test ./internal/lint/

e2e: build
	bash tests/run.sh e2e

chaos: build
	bash tests/run.sh chaos

# Random changes of files against a model, in one mount and in two: CHANGES of each, for tens of minutes.
fsx: build
	GRANARY_CHANGES=$(or $(CHANGES),20000) bash tests/run.sh fsx

# git, go build, rsync, tar, sqlite3, PostgreSQL, fio and stress-ng on a mount whose servers are killed meanwhile.
programs:
	bash tests/run.sh programs

# pjdfstest, a checkout of which PJDFSTEST names, as root on a mount; TESTS="rename chmod/00.t" runs some of it.
posix: build
	GRANARY_BINARY=$(CURDIR)/$(BIN) bash tests/posix/run.sh "$(PJDFSTEST)" $(TESTS)

# Go benchmarks of the primitives, then the doors of a running server beside the plain disk and, if
# MINIO names its binary, beside MinIO; and the block path beside dd.
bench: build
	bash tests/bench/run.sh
	bash tests/blockbench/run.sh

# The S3 door beside MinIO's, of which MINIO names the binary, in turns, with medians.
s3bench: build
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/bench ./tests/bench
	bash tests/bench/beside.sh

# The block path beside dd: writes, reads, the repair of a lost disk, thin rows, the memory of a server with a terabyte.
# PARTS="repair" runs one of them.
blockbench:
	bash tests/blockbench/run.sh

# The metadata master beside bare Raft, and what many inodes cost; INODES=10000000 takes a while.
metabench:
	bash tests/metabench/run.sh

golden:
	$(GO) test ./master ./volume -run Golden -update
	$(GO) test ./internal/block -run Golden -golden

fuzz:
	bash tests/run.sh fuzz

generate:
	$(GO) generate ./internal/wire/

clean:
	rm -rf bin
