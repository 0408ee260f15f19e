package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

func (r release) imageArchive() (string, []byte, error) {
	content, err := os.ReadFile(r.archive)
	return "oauth-operator-image-" + r.version + ".tar", content, err
}

// imageDigest is by what a registry names the image when it is copied there as it is: no tag can be
// moved away from it.
func (r release) imageDigest() (string, []byte, error) {
	digest, err := readDigest(r.archive)
	if err != nil {
		return "", nil, fmt.Errorf("reading the digest from %s: %w", r.archive, err)
	}
	return "oauth-operator-image-" + r.version + ".digest", []byte(digest + "\n"), nil
}

// readDigest returns the digest of the one image in an OCI archive.
func readDigest(path string) (digest string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return "", errors.New("it is no OCI archive: there is no index.json")
		}
		if err != nil {
			return "", err
		}
		if header.Name != "index.json" {
			continue
		}
		var index struct{ Manifests []struct{ Digest string } }
		if err := json.NewDecoder(archive).Decode(&index); err != nil {
			return "", err
		}
		if len(index.Manifests) != 1 {
			return "", fmt.Errorf("there are %d images, not one", len(index.Manifests))
		}
		return index.Manifests[0].Digest, nil
	}
}
