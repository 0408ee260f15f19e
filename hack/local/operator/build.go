package operator

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/oauth-operator/oauth-operator/hack/local/controlplane"
)

// Programs are the paths of the operator's programs.
type Programs struct {
	Manager, TokenServer string
}

// Build builds the programs from this checkout into the directory: with the race detector if the
// caller has it, so that a data race in them fails the caller's tests too.
func Build(ctx context.Context, dir string) (Programs, error) {
	root, err := controlplane.Root()
	if err != nil {
		return Programs{}, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return Programs{}, err
	}
	args := []string{"build", "-buildvcs=false", "-o", dir + string(filepath.Separator)}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.CommandContext(ctx, "go", append(args, "./cmd/manager", "./cmd/tokenserver")...)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("building the operator: %w\n%s", err, output)
	}
	return Programs{Manager: filepath.Join(dir, "manager"), TokenServer: filepath.Join(dir, "tokenserver")}, nil
}
