package clients

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"testing"
)

// library is oidc-client-ts for browsers: see the README beside it.
//
//go:embed testdata/oidc-client-ts/oidc-client-ts.min.js
var library []byte

func TestTheBrowserLibraryIsAsItWasReleased(t *testing.T) {
	const released = "f999daa383f09eb090d0ae32211e9ca931c76840e08e47fcf334fc8f5f74f1ef"
	if sum := sha256.Sum256(library); hex.EncodeToString(sum[:]) != released {
		t.Errorf("its SHA-256 is %x", sum)
	}
}
