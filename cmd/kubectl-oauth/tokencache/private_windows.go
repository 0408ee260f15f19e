package tokencache

import "io/fs"

// isPrivate reports whether it is a regular file. Windows has no mode bits; the user's profile
// directory is the user's own.
func isPrivate(info fs.FileInfo) bool { return info.Mode().IsRegular() }
