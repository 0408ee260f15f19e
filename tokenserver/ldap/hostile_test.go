package ldap_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/fetch"
	"github.com/oauth-operator/oauth-operator/tokenserver/ldap"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
)

const (
	hostileReader = "cn=reader,dc=acme"
	hostileUser   = "uid=alice,dc=acme"
)

// hostile is a directory that answers as no real one does: with the raw messages that a test returns
// for each request. No messages, or one that is nil, close the connection.
type hostile struct {
	t      *testing.T
	url    string
	answer func(id int64, request *ber.Packet) [][]byte
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	h := &hostile{t: t, url: "ldap://" + listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go h.serve(conn)
		}
	}()
	return h
}

func (h *hostile) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		request, err := ber.ReadPacket(conn)
		if err != nil || len(request.Children) < 2 {
			return
		}
		id, _ := request.Children[0].Value.(int64)
		answers := h.answer(id, request.Children[1])
		if answers == nil {
			return
		}
		for _, answer := range answers {
			if answer == nil {
				return
			}
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
}

// result returns a message with a result.
func result(id int64, tag ber.Tag, code uint16) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "the text of the directory", ""))
	return message(id, op)
}

// found returns a message with an entry.
func found(id int64, dn string, attributes ...string) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, dn, ""))
	list := ber.NewSequence("")
	for i := 0; i < len(attributes); i += 2 {
		attribute, values := ber.NewSequence(""), ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		attribute.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, attributes[i], ""))
		values.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, attributes[i+1], ""))
		attribute.AppendChild(values)
		list.AppendChild(attribute)
	}
	op.AppendChild(list)
	return message(id, op)
}

func message(id int64, op *ber.Packet) []byte {
	m := ber.NewSequence("")
	m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	m.AppendChild(op)
	return m.Bytes()
}

// honest answers as a directory with one user does, whose every password is right.
func honest(id int64, request *ber.Packet) [][]byte {
	switch request.Tag {
	case goldap.ApplicationBindRequest:
		return [][]byte{result(id, goldap.ApplicationBindResponse, 0)}
	case goldap.ApplicationSearchRequest:
		return [][]byte{found(id, hostileUser, "entryUUID", "1"), result(id, goldap.ApplicationSearchResultDone, 0)}
	}
	return [][]byte{}
}

func isBindOf(request *ber.Packet, dn string) bool {
	return request.Tag == goldap.ApplicationBindRequest && len(request.Children) > 1 && request.Children[1].Value == dn
}

func (h *hostile) directory(change ...func(*documents.LDAPProvider)) *ldap.Directory {
	h.t.Helper()
	limiter, err := throttle.New(time.Now, rand.Reader, prometheus.NewRegistry())
	if err != nil {
		h.t.Fatal(err)
	}
	directories := &ldap.Directories{
		Client: &fetch.Client{Document: func() documents.Server {
			return documents.Server{Fetch: &documents.Fetch{AllowedNetworks: []string{"127.0.0.0/8"}}}
		}},
		Password: func(string) (string, bool) { return "secret", true }, Throttle: limiter, Replicas: func(time.Duration) int { return 1 },
		Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler), Sleep: func(context.Context, time.Duration) bool { return true },
	}
	settings := documents.LDAPProvider{
		URL: h.url, BindDN: hostileReader, Users: documents.LDAPUsers{BaseDN: "dc=acme", Filter: "(uid=$(username))"},
		ThrottleFailures: 4, ThrottleWindow: 1800,
	}
	for _, c := range change {
		c(&settings)
	}
	directory, err := directories.Of(documents.IdentityProvider{
		UID: "uid", Name: "acme", Type: documents.ProviderLDAP, SubjectAttribute: "entryUUID", Credentials: []string{"f"}, LDAP: &settings,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return directory
}

func signInAt(t *testing.T, d *ldap.Directory) error {
	t.Helper()
	return d.SignIn(t.Context(), ldap.Form{
		Username: "alice", Password: "password", Source: "source", DeviceID: func([]byte) string { return "" },
		Admit: func(context.Context, ldap.Entry) error { return nil },
	})
}

func TestNoAnswerButSuccessForOneEntrySignsIn(t *testing.T) {
	h := newHostile(t)
	h.answer = honest
	if err := signInAt(t, h.directory()); err != nil {
		t.Fatalf("the honest answers: %v", err)
	}
	search := func(answers func(id int64) [][]byte) func(int64, *ber.Packet) [][]byte {
		return func(id int64, request *ber.Packet) [][]byte {
			if request.Tag == goldap.ApplicationSearchRequest {
				return answers(id)
			}
			return honest(id, request)
		}
	}
	bind := func(dn string, answers func(id int64) [][]byte) func(int64, *ber.Packet) [][]byte {
		return func(id int64, request *ber.Packet) [][]byte {
			if isBindOf(request, dn) {
				return answers(id)
			}
			return honest(id, request)
		}
	}
	done := func(id int64) []byte { return result(id, goldap.ApplicationSearchResultDone, 0) }
	for what, answer := range map[string]func(int64, *ber.Packet) [][]byte{
		"an entry with an empty name":    search(func(id int64) [][]byte { return [][]byte{found(id, "", "entryUUID", "1"), done(id)} }),
		"an entry with a blank name":     search(func(id int64) [][]byte { return [][]byte{found(id, " ", "entryUUID", "1"), done(id)} }),
		"an entry whose name is no DN":   search(func(id int64) [][]byte { return [][]byte{found(id, "alice", "entryUUID", "1"), done(id)} }),
		"an entry without a subject":     search(func(id int64) [][]byte { return [][]byte{found(id, hostileUser), done(id)} }),
		"an entry with an empty subject": search(func(id int64) [][]byte { return [][]byte{found(id, hostileUser, "entryUUID", ""), done(id)} }),
		"an entry with a long subject": search(func(id int64) [][]byte {
			return [][]byte{found(id, hostileUser, "entryUUID", strings.Repeat("1", 256)), done(id)}
		}),
		"no entry": search(func(id int64) [][]byte { return [][]byte{done(id)} }),
		"two entries": search(func(id int64) [][]byte {
			return [][]byte{found(id, hostileUser, "entryUUID", "1"), found(id, "uid=bob,dc=acme", "entryUUID", "2"), done(id)}
		}),
		"three entries of one name": search(func(id int64) [][]byte {
			one := found(id, hostileUser, "entryUUID", "1")
			return [][]byte{one, one, one, done(id)}
		}),
		"an entry and a failed search": search(func(id int64) [][]byte {
			return [][]byte{found(id, hostileUser, "entryUUID", "1"), result(id, goldap.ApplicationSearchResultDone, 80)}
		}),
		"an entry that is too large": search(func(id int64) [][]byte {
			return [][]byte{found(id, hostileUser, "entryUUID", "1", "cn", strings.Repeat("x", 5<<20)), done(id)}
		}),
		"no answer to the search":        search(func(int64) [][]byte { return nil }),
		"what is no message":             search(func(int64) [][]byte { return [][]byte{[]byte("HTTP/1.1 200 OK\r\n\r\n"), nil} }),
		"a message without an operation": search(func(id int64) [][]byte { return [][]byte{{0x30, 0x03, 0x02, 0x01, byte(id)}, nil} }),
		"a length of four gigabytes": search(func(int64) [][]byte {
			return [][]byte{{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x04, 0x84, 0x7f, 0xff, 0xff, 0xf0}, make([]byte, 5<<20)}
		}),
		"an answer to a bind in its place": search(func(id int64) [][]byte { return [][]byte{result(id, goldap.ApplicationBindResponse, 0), nil} }),
		"a reader who is refused":          bind(hostileReader, func(id int64) [][]byte { return [][]byte{result(id, goldap.ApplicationBindResponse, 49)} }),
		"a reader who is not answered":     bind(hostileReader, func(int64) [][]byte { return nil }),
		"a bind that is not answered":      bind(hostileUser, func(int64) [][]byte { return nil }),
		"a bind with an answer without code": bind(hostileUser, func(id int64) [][]byte {
			return [][]byte{message(id, ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationBindResponse, nil, "")), nil}
		}),
		"a bind with a random answer": bind(hostileUser, func(int64) [][]byte {
			random := make([]byte, 64)
			_, _ = io.ReadFull(rand.Reader, random)
			return [][]byte{random, nil}
		}),
	} {
		hostile := newHostile(t)
		hostile.answer = answer
		if err := signInAt(t, hostile.directory()); err == nil {
			t.Errorf("%s: the user is signed in", what)
		} else if strings.Contains(err.Error(), "the text of the directory") {
			t.Errorf("%s: the error quotes the answer: %v", what, err)
		}
	}
	for code := uint16(1); code < 130; code++ {
		hostile := newHostile(t)
		hostile.answer = bind(hostileUser, func(id int64) [][]byte { return [][]byte{result(id, goldap.ApplicationBindResponse, code)} })
		var failed *ldap.Error
		if err := signInAt(t, hostile.directory()); !errors.Is(err, ldap.ErrWrong) && !errors.As(err, &failed) {
			t.Errorf("a bind with result %d: %v", code, err)
		}
	}
}

func TestADirectoryThatDoesNotBeginTLSGetsNoPassword(t *testing.T) {
	for what, answers := range map[string]func(id int64) [][]byte{
		"refuses":         func(id int64) [][]byte { return [][]byte{result(id, goldap.ApplicationExtendedResponse, 2)} },
		"answers another": func(id int64) [][]byte { return [][]byte{result(id+1, goldap.ApplicationExtendedResponse, 0)} },
		"answers a bind":  func(id int64) [][]byte { return [][]byte{result(id, goldap.ApplicationBindResponse, 0)} },
		"goes on in clear": func(id int64) [][]byte {
			return [][]byte{result(id, goldap.ApplicationExtendedResponse, 0), result(id, goldap.ApplicationBindResponse, 0)}
		},
		"closes":             func(int64) [][]byte { return nil },
		"answers no message": func(int64) [][]byte { return [][]byte{[]byte("220 ready"), nil} },
	} {
		h := newHostile(t)
		bound := make(chan string, 100)
		h.answer = func(id int64, request *ber.Packet) [][]byte {
			if request.Tag != goldap.ApplicationExtendedRequest {
				bound <- what
				return nil
			}
			return answers(id)
		}
		err := signInAt(t, h.directory(func(l *documents.LDAPProvider) { l.StartTLS = true }))
		var failed *ldap.Error
		if !errors.As(err, &failed) || failed.Reason != ldap.Away {
			t.Errorf("%s: %v", what, err)
		}
		if len(bound) > 0 {
			t.Errorf("%s: a request was sent in clear", what)
		}
	}
}
