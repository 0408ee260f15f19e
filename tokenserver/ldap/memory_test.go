package ldap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
)

// emptyElements returns a message of 4 MiB whose two million elements are empty, each of which takes
// the decoder some two hundred bytes.
func emptyElements() []byte {
	elements := bytes.Repeat([]byte{byte(ber.TagOctetString), 0}, 2<<20)
	return append(binary.BigEndian.AppendUint32([]byte{0x30, 0x84}, uint32(len(elements))), elements...)
}

// Before TLS begins, an attacker on the way may send it.
func TestNoAnswerOfADirectoryTakesMuchMemory(t *testing.T) {
	bomb := emptyElements()
	for what, test := range map[string]struct {
		startTLS bool
		to       ber.Tag
		most     uint64 // MiB
	}{
		"to StartTLS": {true, goldap.ApplicationExtendedRequest, 8},
		"to a bind":   {false, goldap.ApplicationBindRequest, 160},
		"to a search": {false, goldap.ApplicationSearchRequest, 160},
	} {
		h := newHostile(t)
		h.answer = func(id int64, request *ber.Packet) [][]byte {
			if request.Tag == test.to {
				return [][]byte{bomb, nil}
			}
			return honest(id, request)
		}
		directory := h.directory(func(l *documents.LDAPProvider) { l.StartTLS = test.startTLS })
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := signInAt(t, directory)
		runtime.ReadMemStats(&after)
		var failed *ldap.Error
		if !errors.As(err, &failed) || failed.Reason != ldap.Away {
			t.Errorf("%s: %v, want Away", what, err)
		}
		if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > test.most {
			t.Errorf("%s: %d MiB were allocated, want at most %d", what, allocated, test.most)
		}
	}
}
