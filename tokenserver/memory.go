package tokenserver

import "github.com/oauth-operator/oauth-operator/tokenserver/password"

// maxHashMemory is how many bytes the password hashes that are computed at once may take: four of the
// largest that are accepted.
const maxHashMemory = 4 * password.MaxMemory

// hashMemory returns how many bytes of a memory limit the password hashes that are computed at once
// may take: half of it, but enough for one hash of the operator's own.
func hashMemory(limit int64) int64 {
	return max(min(limit/2, maxHashMemory), password.DefaultHashMemory)
}
