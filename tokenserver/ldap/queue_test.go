package ldap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/oauth-operator/oauth-operator/test/eventually"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
)

func TestSignInsThatFillTheQueueKeepNoConfirmationOut(t *testing.T) {
	for what, isHeld := range map[string]func(request *ber.Packet) bool{
		"at the bind of the user": func(request *ber.Packet) bool {
			return request.Tag == goldap.ApplicationBindRequest && !isBindOf(request, hostileReader)
		},
		"at the search": func(request *ber.Packet) bool {
			if request.Tag != goldap.ApplicationSearchRequest {
				return false
			}
			filter, _ := goldap.DecompileFilter(request.Children[6])
			return strings.HasPrefix(filter, "(uid=user-")
		},
	} {
		t.Run(what, func(t *testing.T) { testFullQueue(t, isHeld) })
	}
}

func testFullQueue(t *testing.T, isHeld func(request *ber.Packet) bool) {
	h := newHostile(t)
	release := make(chan struct{})
	h.answer = func(id int64, request *ber.Packet) [][]byte {
		if isHeld(request) {
			<-release
		}
		return honest(id, request)
	}
	directory := h.directory()
	var refused atomic.Int64
	ended := make(chan struct{}, 100)
	for n := range cap(ended) {
		go func() {
			err := directory.SignIn(t.Context(), ldap.Form{
				Username: fmt.Sprint("user-", n), Password: "password", Source: fmt.Sprint("source-", n), DeviceID: func([]byte) string { return "" },
				Admit: func(context.Context, ldap.Entry) error { return nil },
			})
			if errors.Is(err, ldap.ErrBusy) {
				refused.Add(1)
			}
			ended <- struct{}{}
		}()
	}
	eventually.True(t, "the queue is full", func() bool { return refused.Load() > 0 })
	if entry, err := directory.Confirm(t.Context(), []byte("1")); err != nil || string(entry.Subject) != "1" {
		t.Errorf("%+v, %v", entry, err)
	}
	close(release)
	for range cap(ended) {
		<-ended
	}
}
