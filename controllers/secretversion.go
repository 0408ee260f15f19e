package controllers

import (
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// secretVersion identifies a version of a Secret, and what was read of it. The zero secretVersion
// is none.
type secretVersion struct {
	uid             types.UID
	resourceVersion string
	// detail is what was read, such as the key; empty: all of it.
	detail string
}

func versionOf(secret metav1.Object, detail string) secretVersion {
	return secretVersion{uid: secret.GetUID(), resourceVersion: secret.GetResourceVersion(), detail: detail}
}

func (v secretVersion) isZero() bool { return v == secretVersion{} }

// String returns "<uid>/<resourceVersion>", followed by "/<detail>" if there is one; for the zero
// secretVersion the empty string.
func (v secretVersion) String() string {
	switch {
	case v.isZero():
		return ""
	case v.detail == "":
		return string(v.uid) + "/" + v.resourceVersion
	}
	return string(v.uid) + "/" + v.resourceVersion + "/" + v.detail
}

// parseSecretVersion parses what String returns. It returns the zero secretVersion for anything
// else.
func parseSecretVersion(text string) secretVersion {
	uid, rest, found := strings.Cut(text, "/")
	if !found {
		return secretVersion{}
	}
	resourceVersion, detail, _ := strings.Cut(rest, "/")
	return secretVersion{uid: types.UID(uid), resourceVersion: resourceVersion, detail: detail}
}

// credentialSource is what the manager remembers of a credential, in documents.Credential.Source.
type credentialSource struct {
	// read is the version of the Secret that spec.secret.fromSecret names whose value this is, and
	// written the version of the target that was written with it. Either may be zero.
	read, written secretVersion
	// revision is that of spec.secret.rotation when the credential was made, or a higher one before.
	revision int64
	// replaced is when a Retiring credential that ends when it is not used any more was replaced, in
	// seconds since 1970; 0 of all others.
	replaced int64
}

// Numbers in a Source, which stand before the versions.
const (
	sourceRevision = "revision="
	sourceReplaced = "replaced="
)

// String returns the numbers that are not 0 and the versions that are not zero, separated by spaces:
// "revision=2 <uid>/<resourceVersion>".
func (s credentialSource) String() string {
	var fields []string
	if s.revision != 0 {
		fields = append(fields, sourceRevision+strconv.FormatInt(s.revision, 10))
	}
	if s.replaced != 0 {
		fields = append(fields, sourceReplaced+strconv.FormatInt(s.replaced, 10))
	}
	for _, version := range []secretVersion{s.read, s.written} {
		if !version.isZero() {
			fields = append(fields, version.String())
		}
	}
	return strings.Join(fields, " ")
}

// parseCredentialSource parses what String returns. A version that was read has a detail, and one
// that was written has none.
func parseCredentialSource(text string) credentialSource {
	var source credentialSource
	for _, field := range strings.Fields(text) {
		revision, isRevision := strings.CutPrefix(field, sourceRevision)
		replaced, isReplaced := strings.CutPrefix(field, sourceReplaced)
		switch v := parseSecretVersion(field); {
		case isRevision:
			source.revision, _ = strconv.ParseInt(revision, 10, 64) // 0 if it is none
		case isReplaced:
			source.replaced, _ = strconv.ParseInt(replaced, 10, 64)
		case v.detail != "":
			source.read = v
		default:
			source.written = v
		}
	}
	return source
}
