package controlplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/oauth-operator/oauth-operator/hack/local/process"
)

// Version is the Kubernetes version that the module hack/controlplane builds. The programs are
// stamped with it: kubectl complains of a server that does not know its version, and the API server
// derives its API priorities from it.
const Version = "v1.36.3"

// Binaries are the paths of the programs.
type Binaries struct {
	Etcd, KubeAPIServer, KubeControllerManager, Kubectl string
}

func (b *Binaries) byName() map[string]*string {
	return map[string]*string{
		"etcd":                    &b.Etcd,
		"kube-apiserver":          &b.KubeAPIServer,
		"kube-controller-manager": &b.KubeControllerManager,
		"kubectl":                 &b.Kubectl,
	}
}

// Build returns the programs of the control plane. What the directory KUBEBUILDER_ASSETS holds of
// them is used; the rest is built from source, once for each version of the sources and of Go, into
// the user's cache directory. Several processes may call it at a time: one builds, the others wait.
// log hears of it when that takes long (about eight minutes on two cores, the first time).
func Build(ctx context.Context, log io.Writer) (Binaries, error) {
	var b Binaries
	if err := buildMissing(ctx, b.byName(), log); err != nil {
		return Binaries{}, err
	}
	return b, nil
}

// BuildNode returns the paths of the programs of a whole cluster, by name: those that Build
// returns, and what a node needs besides. They are found and built as Build says.
func BuildNode(ctx context.Context, log io.Writer) (map[string]string, error) {
	var b Binaries
	var scheduler, kubelet, proxy string
	programs := b.byName()
	programs["kube-scheduler"], programs["kubelet"], programs["kube-proxy"] = &scheduler, &kubelet, &proxy
	if err := buildMissing(ctx, maps.Clone(programs), log); err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for name, path := range programs {
		paths[name] = *path
	}
	return paths, nil
}

// buildMissing sets the paths of the programs, and empties the map.
func buildMissing(ctx context.Context, missing map[string]*string, log io.Writer) error {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		findPrograms(assets, missing)
	}
	if len(missing) == 0 {
		return nil
	}
	root, err := Root()
	if err != nil {
		return err
	}
	source := sourceIn(root)
	target, err := cacheDir(source)
	if err != nil {
		return err
	}
	if findPrograms(target, missing); len(missing) == 0 {
		return nil
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, target+".lock", log)
	if err != nil {
		return err
	}
	defer unlock()
	if findPrograms(target, missing); len(missing) == 0 { // another process has built them while this one waited
		return nil
	}
	if err := build(ctx, source, target, missing, log); err != nil {
		return err
	}
	if findPrograms(target, missing); len(missing) > 0 {
		return fmt.Errorf("building the control plane left nothing in %s for %v", target, names(missing))
	}
	return nil
}

// findPrograms sets the paths of the missing programs that the directory has, and removes them from
// the map.
func findPrograms(dir string, missing map[string]*string) {
	for name, path := range missing {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			*path = file
			delete(missing, name)
		}
	}
}

func names(missing map[string]*string) []string {
	var all []string
	for name := range missing {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Root is the directory of this project's checkout: the one above the working directory that has
// hack/controlplane. A test runs in the directory of its package, a program wherever it is started.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(sourceIn(dir), "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside a checkout of this project: no directory above it has hack/controlplane", start)
		}
	}
}

// sourceIn is the module that builds the programs.
func sourceIn(root string) string { return filepath.Join(root, "hack", "controlplane") }

// cacheDir names the place of the built programs by everything that decides what they are.
func cacheDir(source string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a place for the control plane's programs: %w", err)
	}
	key := sha256.New()
	_, _ = fmt.Fprintln(key, runtime.Version(), runtime.GOOS, runtime.GOARCH, Version) // a hash takes everything
	err = filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !isSource(entry.Name()) {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, path)
		_, _ = fmt.Fprintf(key, "%s %d\n%s", relative, len(content), content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", source, err)
	}
	return filepath.Join(cache, "oauth-operator", "controlplane", Version+"-"+hex.EncodeToString(key.Sum(nil))[:16]), nil
}

func isSource(name string) bool {
	return name == "go.mod" || name == "go.sum" || strings.HasSuffix(name, ".go")
}

// lock waits until this process alone holds the lock file.
func lock(ctx context.Context, path string, log io.Writer) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	said := false
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing it releases the lock
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !said {
			printLine(log, "another process is building the control plane; waiting for it")
			said = true
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// build builds the missing programs beside the target and moves each into it whole.
func build(ctx context.Context, source, target string, missing map[string]*string, log io.Writer) error {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("the control plane is built from source: %w", err)
	}
	scratch, err := os.MkdirTemp(filepath.Dir(target), "building-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // a leftover does no harm

	args := []string{
		"build", "-v", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=" + Version,
		"-o", scratch + string(filepath.Separator),
	}
	for _, name := range names(missing) {
		args = append(args, "./cmd/"+name)
	}
	started := time.Now()
	printLine(log, "building %s %s from source: about 8 minutes on two cores the first time; it is kept in %s",
		strings.Join(names(missing), ", "), Version, target)
	var out progress
	goBuild, err := process.Start(process.Command{
		Path: goCommand, Args: args, Dir: source, Output: &out,
		// Without cgo a C compiler, or a broken one, makes no difference. The module stands alone,
		// whatever workspace surrounds it.
		Env: []string{"CGO_ENABLED=0", "GOWORK=off"},
	})
	if err != nil {
		return err
	}
	waitForBuild(ctx, goBuild, func() {
		printLine(log, "still building the control plane: %s so far, %d modules downloaded, %d packages compiled (of about 2,700)",
			time.Since(started).Round(time.Second), out.downloaded.Load(), out.compiled.Load())
	})
	if err := errors.Join(goBuild.Err(), ctx.Err()); err != nil {
		return fmt.Errorf("building the control plane in %s: %w\n%s", source, err, out.failure())
	}
	for _, name := range names(missing) {
		if err := os.Rename(filepath.Join(scratch, name), filepath.Join(target, name)); err != nil {
			return err
		}
	}
	printLine(log, "built the control plane in %s", time.Since(started).Round(time.Second))
	return nil
}

// waitForBuild returns when the build has ended; it ends it when the context does. Now and then it
// tells that the build still goes on.
func waitForBuild(ctx context.Context, goBuild *process.Process, tell func()) {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-goBuild.Done():
			return
		case <-ctx.Done():
			_ = goBuild.Signal(os.Interrupt) // go then waits for its compilers, and cleans up
			select {
			case <-goBuild.Done():
			case <-time.After(15 * time.Second):
				goBuild.Kill()
			}
			return
		case <-tick.C:
			tell()
		}
	}
}

func printLine(log io.Writer, format string, args ...any) {
	if log != nil {
		_, _ = fmt.Fprintf(log, format+"\n", args...) // nothing depends on its being read
	}
}
