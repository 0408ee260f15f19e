# Needs Go and make, nothing else. `make` lists the targets.

# Programs are built without cgo: a C compiler, or a broken one, makes no difference to them.
BUILD := CGO_ENABLED=0 go build -trimpath
# Tests use the race detector where a C compiler works (it needs one).
RACE = $(shell test "$$(go env CGO_ENABLED)" = 1 && \
	echo 'int main(void) { return 0; }' | $$(go env CC) -x c -o /dev/null - 2>/dev/null && echo -race)
# The browser tests need Chromium. In CI it is installed, and its lack is a failure.
BROWSER = $(shell { test -n "$$CI" || command -v chromium chromium-browser google-chrome; } >/dev/null && echo browser)
# So it is with the tests of storage in PostgreSQL, which start a server of their own.
POSTGRES = $(shell { test -n "$$CI" || command -v initdb || ls -d /usr/lib/postgresql/*/bin; } >/dev/null 2>&1 && echo postgres)
# And with those that have Apache's mod_auth_openidc as a client.
APACHE = $(shell { test -n "$$CI" || test -e /usr/lib/apache2/modules/mod_auth_openidc.so; } && echo apache)
# And with those that start OpenLDAP's slapd.
LDAP = $(shell { test -n "$$CI" || test -x /usr/sbin/slapd; } && echo ldap)
# And with those that start PgBouncer before PostgreSQL.
PGBOUNCER = $(shell { test -n "$$CI" || command -v pgbouncer || test -x /usr/sbin/pgbouncer; } >/dev/null 2>&1 && echo pgbouncer)
# Narrow `make test` and `make bench`: make test PKGS=./tokenserver/... ARGS='-run Code -v'
PKGS ?= ./...
ARGS ?=

CONTROLLER_GEN_VERSION := $(shell awk '$$1 == "sigs.k8s.io/controller-tools" {print $$2}' hack/tools/controller-gen/go.mod)
GOLANGCI_LINT_VERSION := $(shell awk '$$1 == "github.com/golangci/golangci-lint/v2" {print $$2}' hack/tools/golangci-lint/go.mod)
CONTROLLER_GEN := bin/tools/controller-gen@$(CONTROLLER_GEN_VERSION)/controller-gen
GOLANGCI_LINT := bin/tools/golangci-lint@$(GOLANGCI_LINT_VERSION)/golangci-lint
# The database of vulnerabilities is a Go module, so what a scan finds depends on the commit alone.
GOVULNCHECK_VERSION := $(shell awk '$$1 == "golang.org/x/vulndb" {print $$2}' hack/tools/govulncheck/go.mod)
GOVULNCHECK := bin/tools/govulncheck@$(GOVULNCHECK_VERSION)
PROMETHEUS_VERSION := $(shell awk '$$1 == "github.com/prometheus/prometheus" && $$2 ~ /^v/ {print $$2}' hack/tools/prometheus/go.mod)
PROMETHEUS := bin/tools/prometheus@$(PROMETHEUS_VERSION)
# Releases are built with this version of Go.
TOOLCHAIN := $(shell awk '$$1 == "toolchain" {print $$2}' go.mod)
# What a build is called, and the image that it makes; a release sets VERSION.
VERSION ?= 0.0.0-devel
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
IMAGE ?= localhost/oauth-operator:$(VERSION)
ARCHITECTURES ?= amd64 arm64
# For which the plugin of kubectl is built.
PLATFORMS ?= linux_amd64 linux_arm64 darwin_amd64 darwin_arm64 windows_amd64 windows_arm64
LDFLAGS := -s -w -X github.com/oauth-operator/oauth-operator/version.version=$(VERSION) -X github.com/oauth-operator/oauth-operator/version.commit=$(COMMIT)
MODULES := . hack/certmanager hack/cluster hack/controlplane hack/gitops hack/image hack/release hack/tools/controller-gen hack/tools/golangci-lint hack/tools/govulncheck hack/tools/oauth2-proxy hack/tools/openid-provider hack/tools/prometheus test/peers/hydra test/peers/zitadel

CHART := charts/oauth-operator
# Concatenates manifests.
CONCATENATE := awk 'FNR == 1 && !/^---/ {print "---"} {print}'

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: bin/local/manager bin/local/tokenserver bin/local/kubectl-oauth bin/local/dev ## Run the operator on a local control plane, with the samples
	@bin/local/dev run $(ARGS)

.PHONY: test
test: bin/local/dev ## Run all tests
	@bin/local/dev controlplane
	KUBE_CACHE_MUTATION_DETECTOR=true go test $(RACE) -tags=$(BROWSER),$(POSTGRES),$(APACHE),$(LDAP),$(PGBOUNCER) -timeout 40m $(ARGS) $(PKGS)
	$(if $(filter ./...,$(PKGS)),for module in gitops image release; do (cd hack/$$module && go test -count=1 ./...) || exit 1; done)

.PHONY: cluster cluster-down
cluster: ## Start a real one-node Kubernetes on this machine (Linux, as root)
	@hack/cluster/cluster up
cluster-down: ## Stop it and delete its data
	@hack/cluster/cluster down

# KUBECONFIG names the cluster to use, and LOAD the command that brings an image archive to its nodes, such as LOAD='kind load image-archive'.
.PHONY: e2e
e2e: ## Run the end-to-end tests, on the cluster of KUBECONFIG or a new one of this machine
	@test/e2e/run $(ARGS)

.PHONY: monitoring
monitoring: bin/local/dev $(PROMETHEUS)/promtool ## Test alerts and dashboard with Prometheus
	@bin/local/dev controlplane
	cd hack/tools/prometheus && go test -count=1 ./...
	PROMETHEUS_BIN=$(CURDIR)/$(PROMETHEUS) go test -count=1 -tags=monitoring -timeout 10m $(ARGS) ./test/monitoring

.PHONY: screenshots
screenshots: bin/local/dev ## Take the pictures of the pages in docs/images (needs Chromium)
	@mkdir -p docs/images
	SCREENSHOTS=$(CURDIR)/docs/images go test -count=1 -tags=browser -run Chromium ./test/features

# What the product costs, with a table at the end, and its rows in $(RESULTS): a run of some benchmarks replaces their rows. Each
# benchmark there measures a fixed amount of work. A part's own benchmarks:
# make bench PKGS=./tokenserver/registry ARGS='-benchtime 1s -benchmem'
RESULTS ?= $(CURDIR)/bin/bench.json
.PHONY: bench
bench: PKGS = ./test/bench
bench: bin/local/dev ## Run the benchmarks
	@bin/local/dev controlplane
	RESULTS="$(RESULTS)" go test -tags=$(POSTGRES) -run '^$$' -bench . -benchtime 1x -timeout 60m $(ARGS) $(PKGS)

# What grows in a token server under full load, with each kind of storage.
SOAK ?= 10m
.PHONY: soak
soak: bin/local/dev ## Load token servers for SOAK (10m) each, and see whether anything grows
	@bin/local/dev controlplane
	RESULTS="$(RESULTS)" go test -tags=$(POSTGRES) -run '^$$' -bench Soak -benchtime 1x -timeout 6h $(ARGS) ./test/bench -soak $(SOAK)

# Others are installed from their packages, with the versions in test/peers: it needs Go, npm, Maven, Java 21 or newer, unzip and
# PostgreSQL. One that cannot be had is a row that says why.
.PHONY: peers
peers: bin/local/dev ## Measure other token servers side by side with this one
	@bin/local/dev controlplane
	RESULTS="$(RESULTS)" go test -tags=peers,postgres -run '^$$' -bench Peers -benchtime 1x -timeout 60m $(ARGS) ./test/bench

# Commit first: each row says at which commit it was measured.
.PHONY: bench-docs
bench-docs: ## Add what the benchmarks measured to docs/performance.json, and make tables and charts of it
	go run ./test/bench/report -add "$(RESULTS)"
	go run ./test/bench/scale

.PHONY: build
build: ## Build the programs into bin
	$(BUILD) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

# Nothing of the machine is in it: built twice from one commit, the digest is the same. No container daemon and no base image are needed.
.PHONY: image
image: bin/local/image ## Build the container image as an OCI archive, bin/image.tar
	@rm -rf bin/image
	@for architecture in $(ARCHITECTURES); do \
		GOTOOLCHAIN=$(TOOLCHAIN) GOOS=linux GOARCH=$$architecture $(BUILD) -buildvcs=false -ldflags '$(LDFLAGS)' \
			-o bin/image/linux_$$architecture/ ./cmd/manager ./cmd/tokenserver || exit 1; \
	done
	@bin/local/image -name $(IMAGE) -version $(VERSION) -commit "$(COMMIT)" -output bin/image.tar $(ARCHITECTURES:%=bin/image/linux_%)

# Built for all platforms, one after the other; `make build` builds it for this one.
.PHONY: plugins
plugins: ## Build the plugin of kubectl for all platforms into bin/plugins
	@rm -rf bin/plugins
	@for platform in $(PLATFORMS); do \
		GOTOOLCHAIN=$(TOOLCHAIN) GOOS=$${platform%_*} GOARCH=$${platform#*_} $(BUILD) -buildvcs=false -ldflags '$(LDFLAGS)' \
			-o bin/plugins/$$platform/ ./cmd/kubectl-oauth || exit 1; \
	done

# make release VERSION=1.2.3 IMAGE=registry.example.com/oauth-operator:1.2.3
.PHONY: release
release: image plugins bin/local/release ## Write a release (VERSION, IMAGE) into dist
	@test -z "$$(git status --porcelain)" || { echo 'The tree is dirty: what would be released is no commit.'; git status --short; exit 1; }
	@bin/local/release -version $(VERSION) -image $(IMAGE) -archive bin/image.tar -plugins bin/plugins -output dist $(ARCHITECTURES:%=bin/image/linux_%)
	@cat dist/SHA256SUMS

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Write generated code, CRDs and RBAC
	$(CONTROLLER_GEN) object paths=./api/...
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	if [ -d controllers ]; then $(CONTROLLER_GEN) rbac:roleName=oauth-operator-manager,fileName=manager_role.yaml paths=./controllers/... output:rbac:dir=config/rbac; fi
	$(MAKE) --no-print-directory $(CHART)
	go run ./test/bench/report
	go run ./test/bench/scale

# What the chart has in common with the kustomization is copied, and put into templates there.
.PHONY: $(CHART)
$(CHART):
	rm -rf $@/files && mkdir -p $@/files/crds $@/files/monitoring
	cp config/crd/bases/*.yaml $@/files/crds/
	cp config/rbac/tokenserver_role.yaml $@/files/
	cp $(addprefix config/monitoring/,service_monitor.yaml pod_monitor.yaml rules.yaml dashboard.json) $@/files/monitoring/
	cd config/rbac && $(CONCATENATE) manager_role.yaml manager_cluster_role.yaml people_roles.yaml metrics_reader_role.yaml token_reviewer_role.yaml > $(CURDIR)/$@/files/roles.yaml
	cd config/admission && $(CONCATENATE) policies.yaml bindings.yaml keep.yaml > $(CURDIR)/$@/files/admission.yaml

.PHONY: verify
verify: generate ## Fail when anything generated, or a go.mod, is not as it would be made now
	@for module in $(MODULES); do echo "go mod tidy -diff ($$module)"; (cd $$module && go mod tidy -diff) || exit 1; done
	@test -z "$$(git status --porcelain)" || { echo 'The tree is dirty: commit what is right, and what generation changed.'; git status --short; git diff; exit 1; }

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters
	$(GOLANGCI_LINT) run --build-tags=browser,postgres,apache,ldap,pgbouncer,monitoring,e2e,peers ./...

# To scan with a newer database: cd hack/tools/govulncheck && go get golang.org/x/vulndb@latest && go mod tidy
.PHONY: vuln
vuln: $(GOVULNCHECK)/db ## Fail when the programs call what has a known vulnerability
	GOTOOLCHAIN=$(TOOLCHAIN) $(GOVULNCHECK)/govulncheck -db file://$(CURDIR)/$(GOVULNCHECK)/db ./cmd/...

.PHONY: clean
clean: ## Remove what was built, and the state of `make run`
	rm -rf bin

# Go knows better than make what has changed.
.PHONY: bin/local/manager bin/local/tokenserver bin/local/kubectl-oauth bin/local/dev bin/local/image bin/local/release bin/local/helm bin/local/kustomize
bin/local/manager bin/local/tokenserver bin/local/kubectl-oauth:
	@$(BUILD) -o $@ ./cmd/$(@F)
bin/local/dev:
	@$(BUILD) -o $@ ./hack/local/dev
bin/local/image bin/local/release:
	@cd hack/$(@F) && $(BUILD) -o $(CURDIR)/$@ .
bin/local/helm:
	@cd hack/release && $(BUILD) -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm
bin/local/kustomize:
	@cd hack/release && $(BUILD) -o $(CURDIR)/$@ sigs.k8s.io/kustomize/kustomize/v5

$(CONTROLLER_GEN):
	cd hack/tools/controller-gen && $(BUILD) -o $(CURDIR)/$@ sigs.k8s.io/controller-tools/cmd/controller-gen
$(GOLANGCI_LINT):
	cd hack/tools/golangci-lint && $(BUILD) -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(GOVULNCHECK)/db:
	cd hack/tools/govulncheck && $(BUILD) -o $(CURDIR)/$(GOVULNCHECK)/ golang.org/x/vuln/cmd/govulncheck golang.org/x/vulndb/cmd/indexdb
	cd hack/tools/govulncheck && $(CURDIR)/$(GOVULNCHECK)/indexdb -vulns "$$(go list -m -f '{{.Dir}}' golang.org/x/vulndb)/data/osv" -out $(CURDIR)/$@.new
	mv $@.new $@
# Without its service discovery, which takes most of the time to build.
$(PROMETHEUS)/promtool:
	cd hack/tools/prometheus && $(BUILD) -tags remove_all_sd -o $(CURDIR)/$(PROMETHEUS)/ github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool
