package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// No container daemon is needed to test what there is to keep in step: the version of Go, how the
// programs are built, and how the image is configured.
func TestTheDockerfileBuildsTheSameImage(t *testing.T) {
	read := func(name string) string {
		content, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	dockerfile, makefile := read("Dockerfile"), read("Makefile")
	toolchain := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindStringSubmatch(read("go.mod"))
	if toolchain == nil || !strings.Contains(dockerfile, "golang:"+toolchain[1]+" AS build") {
		t.Errorf("it is not built with the toolchain %q of go.mod", toolchain)
	}
	flags := regexp.MustCompile(`(?m)^LDFLAGS := (.+)$`).FindStringSubmatch(makefile)
	if flags == nil {
		t.Fatal("the Makefile has no LDFLAGS")
	}
	if linked := strings.NewReplacer("$(VERSION)", "$VERSION", "$(COMMIT)", "$COMMIT").Replace(flags[1]); !strings.Contains(dockerfile, `-ldflags "`+linked+`"`) {
		t.Errorf("it is not linked with %s", linked)
	}
	for _, has := range []string{"USER " + user + "\n", `ENTRYPOINT ["/manager"]`, "WORKDIR /\n", "FROM scratch\n", "CGO_ENABLED=0", "-trimpath -buildvcs=false"} {
		if !strings.Contains(dockerfile, has) {
			t.Errorf("it has no %s", has)
		}
	}
	for name, value := range (build{version: "$VERSION", commit: "$COMMIT"}).labels() {
		if !strings.Contains(dockerfile, name+`="`+value+`"`) {
			t.Errorf("it has no label %s=%s", name, value)
		}
	}
}
