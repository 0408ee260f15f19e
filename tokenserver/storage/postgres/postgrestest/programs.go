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

// unprivilegedUID is the user that runs the programs where the tests run as root, which PostgreSQL
// refuses.
const unprivilegedUID = 65534

// programs of PostgreSQL.
type programs struct {
	dir        string
	credential *syscall.Credential
}

// findPrograms looks in PATH, and then where Debian puts every version of PostgreSQL.
func findPrograms() (programs, error) {
	p := programs{}
	if os.Getuid() == 0 {
		p.credential = &syscall.Credential{Uid: unprivilegedUID, Gid: unprivilegedUID}
	}
	if file, err := exec.LookPath("initdb"); err == nil {
		if file, err = filepath.EvalSymlinks(file); err == nil && hasAllPrograms(filepath.Dir(file)) {
			p.dir = filepath.Dir(file)
			return p, nil
		}
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is valid
	installed = slices.DeleteFunc(installed, func(dir string) bool { return !hasAllPrograms(dir) })
	if len(installed) == 0 {
		return programs{}, errors.New("the programs of PostgreSQL are neither in PATH nor under /usr/lib/postgresql: install the package postgresql")
	}
	p.dir = slices.MaxFunc(installed, func(a, b string) int { return cmp.Compare(versionOf(a), versionOf(b)) })
	return p, nil
}

func hasAllPrograms(dir string) bool {
	for _, name := range []string{"initdb", "postgres", "pg_dump", "pg_basebackup"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

func versionOf(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // 0 if it is not a number
	return n
}

func (p programs) path(name string) string { return filepath.Join(p.dir, name) }

// changeOwner makes the user that runs the programs the owner of a file or directory.
func (p programs) changeOwner(file string) error {
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
