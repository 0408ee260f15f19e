// Package mountedfiles reads the files of a Secret that is mounted as a volume.
package mountedfiles

import (
	"os"
	"path/filepath"
	"strings"
)

// File is a file of a volume.
type File struct {
	Name    string
	Content []byte
}

// Current returns the directory of the files that count now. In a volume, files are links through
// the link "..data" to the current version. Following "..data" first reads all files of one version,
// even if it is replaced meanwhile. A directory that is no volume is its own.
func Current(dir string) string {
	if version, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		return version
	}
	return dir
}

// Read reads the files of dir whose names are wanted, in the order of their names. None begins with a
// dot. Its errors are those of the file system.
func Read(dir string, isWanted func(name string) bool) ([]File, error) {
	dir = Current(dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || !isWanted(name) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files = append(files, File{name, content})
	}
	return files, nil
}
