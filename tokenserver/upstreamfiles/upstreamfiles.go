// Package upstreamfiles reads the credentials with which the token server authenticates to identity
// providers: client secrets of OpenID providers and bind passwords of directories. The manager
// copies them into one Secret, which the token server has as a volume, so that a new provider needs
// no new Pod, and the token server reads no Secret.
//
// Each credential is a file of its own, "<UID of the provider>.<random id>", whose content never
// changes: the document of the provider names the files, so that document and file need not change
// at the same moment. The id is random and not a hash, because documents are read by more people
// than Secrets are, and the hash of a password that a person chose can be guessed.
package upstreamfiles

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"

	"github.com/oauth-operator/oauth-operator/tokenserver/mountedfiles"
)

// maxFile is the size of the largest credential in bytes: the manager copies none that is larger.
const maxFile = 4096

// Files are the credentials that the token server holds. The zero Files hold none.
type Files struct {
	byName atomic.Pointer[map[string]string]
}

// Lookup returns the credential in the file that a document names, if it has been read.
func (f *Files) Lookup(name string) (credential string, ok bool) {
	if files := f.byName.Load(); files != nil {
		credential, ok = (*files)[name]
	}
	return credential, ok
}

// Loaded returns the names of the files that have been read, sorted.
func (f *Files) Loaded() []string {
	files := f.byName.Load()
	if files == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(*files))
}

// LoadDir reads the files of dir, and reports whether they are others than before. A directory that
// does not exist has none: the volume is optional. If one cannot be read, the files that were read
// before stay in use. The error never quotes a content.
func (f *Files) LoadDir(dir string) (changed bool, err error) {
	files, err := readFiles(dir)
	if err != nil {
		return false, fmt.Errorf("reading the credentials for identity providers: %w", err)
	}
	before := f.byName.Load()
	if before == nil && len(files) == 0 || before != nil && maps.Equal(*before, files) {
		return false, nil
	}
	f.byName.Store(&files)
	return true, nil
}

func readFiles(dir string) (map[string]string, error) {
	files := map[string]string{}
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return files, nil
	}
	read, err := mountedfiles.Read(dir, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	for _, f := range read {
		if len(f.Content) > maxFile {
			return nil, fmt.Errorf("%s has more than %d bytes", f.Name, maxFile)
		}
		files[f.Name] = string(f.Content)
	}
	return files, nil
}
