package main

import (
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/version"
)

func TestTheVersionIsPrinted(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"--version"}, &out); err != nil || !strings.HasPrefix(out.String(), version.Version()) {
		t.Errorf("printed %q, %v", out.String(), err)
	}
}

func TestWhatWasLoggedIsWrittenBeforeTheProgramEnds(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), nil, &out); err == nil || !strings.Contains(out.String(), `"starting"`) {
		t.Errorf("logged %q, %v", out.String(), err)
	}
}
