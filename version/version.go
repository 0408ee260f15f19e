// Package version says which build of oauth-operator a program is.
package version

import "runtime/debug"

// Set by the linker for released builds, see the Makefile.
var (
	version = ""
	commit  = ""
)

// Version of the build in semantic versioning without a "v", such as "1.2.3"; "devel" for a build that is no release.
func Version() string {
	if version == "" {
		return "devel"
	}
	return version
}

// Commit is the hash of the Git commit that was built, from the linker or from what the Go command recorded; empty if neither knows it.
func Commit() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}

// String is the version and, where it is known, the first twelve digits of the commit: "1.2.3 (0123456789ab)".
func String() string {
	c := Commit()
	if c == "" {
		return Version()
	}
	return Version() + " (" + c[:min(len(c), 12)] + ")"
}

// UserAgent of a program toward the API server, as RFC 9110 section 10.1.5 has it: "oauth-operator-manager/1.2.3".
func UserAgent(program string) string { return "oauth-operator-" + program + "/" + Version() }
