package tokenserver_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/oauth-operator/oauth-operator/test/eventually"
)

func TestTheReplicaSaysWhichCredentialsForIdentityProvidersTheProcessHolds(t *testing.T) {
	r := startProgramWith(t, func(r *testProgram) { r.options.UpstreamsDir = t.TempDir() })
	for _, want := range [][]string{{"uid-a.1"}, {"uid-a.1", "uid-a.2"}} { // the second comes while the process runs
		writeFile(t, filepath.Join(r.options.UpstreamsDir, want[len(want)-1]), []byte("a secret"))
		eventually.True(t, "the Replica has the new file", func() bool {
			replica := r.api.Replica(t, "main-0")
			return replica != nil && slices.Equal(replica.Spec.Upstreams, want)
		})
	}
}
