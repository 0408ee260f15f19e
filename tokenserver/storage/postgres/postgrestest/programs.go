package postgrestest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// nobody is whom the programs run as where the tests run as root, which PostgreSQL refuses to.
const nobody = 65534

// programs of PostgreSQL.
type programs struct {
	dir        string
	credential *syscall.Credential
}

// find looks in PATH, and then where Debian and its likes put every version of PostgreSQL.
func find() (programs, error) {
	p := programs{}
	if os.Getuid() == 0 {
		p.credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if file, err := exec.LookPath("initdb"); err == nil {
		if file, err = filepath.EvalSymlinks(file); err == nil && complete(filepath.Dir(file)) {
			p.dir = filepath.Dir(file)
			return p, nil
		}
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is a good one
	installed = slices.DeleteFunc(installed, func(dir string) bool { return !complete(dir) })
	if len(installed) == 0 {
		return programs{}, errors.New("the programs of PostgreSQL are neither in PATH nor under /usr/lib/postgresql: install the package postgresql")
	}
	p.dir = slices.MaxFunc(installed, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
	return p, nil
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres", "pg_dump"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

func version(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // 0 for what is no number
	return n
}

func (p programs) path(name string) string { return filepath.Join(p.dir, name) }

// own gives a file or directory to whom the programs run as.
func (p programs) own(file string) error {
	if p.credential == nil {
		return nil
	}
	return os.Chown(file, int(p.credential.Uid), int(p.credential.Gid))
}

func (p programs) run(dir, name string, args ...string) error {
	_, err := p.output(dir, nil, name, args...)
	return err
}

func (p programs) output(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(p.path(name), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", name, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}
