//go:build !windows

package tokencache

import "io/fs"

// isPrivate reports whether a regular file has no permissions for users other than its owner.
func isPrivate(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0
}
