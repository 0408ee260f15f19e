package main

import (
	"fmt"
	"regexp"
)

// reference names an image: by a tag, by a digest, or by both.
type reference struct{ repository, tag, digest string }

var referenceFormat = regexp.MustCompile(
	`^((?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`)

func parseReference(text string) (reference, error) {
	parts := referenceFormat.FindStringSubmatch(text)
	if parts == nil {
		return reference{}, fmt.Errorf("%q is no image such as registry.example.com/oauth-operator:1.2.3", text)
	}
	if parts[2] == "" && parts[3] == "" {
		return reference{}, fmt.Errorf("%q has neither a tag nor a digest, so that it would be another image tomorrow", text)
	}
	return reference{repository: parts[1], tag: parts[2], digest: parts[3]}, nil
}

func (r reference) String() string {
	text := r.repository
	if r.tag != "" {
		text += ":" + r.tag
	}
	if r.digest != "" {
		text += "@" + r.digest
	}
	return text
}
