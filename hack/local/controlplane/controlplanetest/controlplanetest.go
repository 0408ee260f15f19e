// Package controlplanetest starts control planes for tests.
package controlplanetest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
)

// options are those of tests: what they write need not outlive a crash of the machine.
func options() controlplane.Options { return controlplane.Options{NoFsync: true, Log: os.Stderr} }

// Start starts a control plane, which is stopped when the test ends.
func Start(t testing.TB) *controlplane.ControlPlane {
	t.Helper()
	plane, err := controlplane.Start(t.Context(), options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plane.Stop)
	return plane
}

// Main is the TestMain of a package whose tests share one control plane. It starts the control
// plane, calls setUp, runs the tests, and exits.
func Main(m *testing.M, setUp func(context.Context, *controlplane.ControlPlane) error) {
	code, err := run(m, setUp)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, setUp func(context.Context, *controlplane.ControlPlane) error) (int, error) {
	ctx := context.Background()
	plane, err := controlplane.Start(ctx, options())
	if err != nil {
		return 1, err
	}
	defer plane.Stop()
	if err := setUp(ctx, plane); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
