package controllers

import (
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

// credentialSource is where the value of a credential is: which version of the Secret that
// spec.secret.fromSecret names was read, and which version of the target was written. Either may be
// zero. It is stored in documents.Credential.Source.
type credentialSource struct {
	read, written secretVersion
}

// String returns both versions, separated by a space if there are two.
func (s credentialSource) String() string {
	return strings.TrimSpace(s.read.String() + " " + s.written.String())
}

// parseCredentialSource parses what String returns. A version that was read has a detail, and one
// that was written has none.
func parseCredentialSource(text string) credentialSource {
	var source credentialSource
	for _, field := range strings.Fields(text) {
		if v := parseSecretVersion(field); v.detail != "" {
			source.read = v
		} else {
			source.written = v
		}
	}
	return source
}
