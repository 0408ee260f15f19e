package ldap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
)

// emptyElements returns a message of elements that are empty, each of which takes the decoder some two
// hundred bytes. It has size bytes.
func emptyElements(size int) []byte {
	elements := bytes.Repeat([]byte{byte(ber.TagOctetString), 0}, size/2)
	return append(binary.BigEndian.AppendUint32([]byte{0x30, 0x84}, uint32(len(elements))), elements...)
}

// allocated returns how many MiB a function allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) >> 20
}

// Before TLS begins, an attacker on the way may send it.
func TestNoAnswerOfADirectoryTakesMuchMemory(t *testing.T) {
	for what, test := range map[string]struct {
		startTLS bool
		to       ber.Tag
		bomb     []byte
		most     uint64 // MiB
	}{
		"to StartTLS":                           {true, goldap.ApplicationExtendedRequest, emptyElements(4 << 20), 1},
		"to the bind of a user":                 {false, goldap.ApplicationBindRequest, emptyElements(4 << 20), 1},
		"to a search":                           {false, goldap.ApplicationSearchRequest, emptyElements(4 << 20), 8},
		"to a search, below the limit of bytes": {false, goldap.ApplicationSearchRequest, emptyElements(400 << 10), 8},
		"to a search, by its length alone":      {false, goldap.ApplicationSearchRequest, []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x04, 0x84, 0x7f, 0xff, 0xff, 0xf0}, 4},
	} {
		h := newHostile(t)
		h.answer = func(id int64, request *ber.Packet) [][]byte {
			if request.Tag == test.to && !isBindOf(request, hostileReader) {
				return [][]byte{test.bomb, nil}
			}
			return honest(id, request)
		}
		directory := h.directory(func(l *documents.LDAPProvider) { l.StartTLS = test.startTLS })
		n := allocated(func() {
			var failed *ldap.Error
			if err := signInAt(t, directory); !errors.As(err, &failed) || failed.Reason != ldap.Away {
				t.Errorf("%s: %v, want Away", what, err)
			}
		})
		if n > test.most {
			t.Errorf("%s: %d MiB were allocated, want at most %d", what, n, test.most)
		}
	}
}

// They are what a directory may be asked at once, with the memory of a replica.
func TestSixteenAnswersOfADirectoryAtOnceTakeLittleMemory(t *testing.T) {
	h := newHostile(t)
	bomb := emptyElements(400 << 10)
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		if request.Tag == goldap.ApplicationSearchRequest {
			return [][]byte{bomb, nil}
		}
		return honest(id, request)
	}
	directory := h.directory()
	n := allocated(func() {
		var crowd sync.WaitGroup
		for i := range 10 {
			crowd.Go(func() { _ = signInAs(t, directory, fmt.Sprint("user-", i)) })
		}
		for range 6 {
			crowd.Go(func() { _, _ = directory.Confirm(t.Context(), []byte("1")) })
		}
		crowd.Wait()
	})
	if n > 100 {
		t.Errorf("%d MiB were allocated, want at most 100", n)
	}
	t.Logf("%d MiB were allocated", n)
}

func TestAThousandGroupsFit(t *testing.T) {
	h := newHostile(t)
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		if request.Tag != goldap.ApplicationSearchRequest || request.Children[0].Value != "ou=groups,dc=acme" {
			return honest(id, request)
		}
		var answers [][]byte
		for n := range 1000 {
			name := fmt.Sprintf("%0200d", n)
			answers = append(answers, found(id, "cn="+name+",ou=groups,dc=acme", "cn", name))
		}
		return append(answers, result(id, goldap.ApplicationSearchResultDone, 0))
	}
	directory := h.directory(func(l *documents.LDAPProvider) {
		l.Groups = documents.LDAPGroups{BaseDN: "ou=groups,dc=acme", Filter: "(member=$(dn))", NameAttribute: "cn"}
	})
	entry, err := directory.Confirm(t.Context(), []byte("1"))
	if groups, _ := entry.Upstream["groups"].([]string); err != nil || len(groups) != 1000 {
		t.Errorf("%d groups, %v", len(groups), err)
	}
}
