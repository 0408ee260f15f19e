// Package grant decides about authorizations: how they begin, with a code or a password, which
// tokens they yield, and how they end. A Store keeps one record per authorization, a storage.Grant.
// Codes, refresh tokens and the ids of access tokens are sealed values that refer to it.
//
//	grant.go          the Service, its results and its errors
//	preconditions.go  what must still be true whenever a grant is used
//	scope.go          the scopes and the audience of one access token
//	consent.go        what a user is asked to allow, and whether a consent covers it
//	code.go           authorization codes, for which nothing is stored
//	redeem.go         the exchange of a code
//	password.go       the exchange of a password
//	create.go         the creation of a record
//	refresh.go        the exchange of a refresh token
//	refresh_unread.go  the same, where the store rotates a grant that was not read
//	refresh_rules.go  what becomes of a refresh token: rotated, kept, repeated or refused
//	unconfirmed.go    writes whose outcome the process does not know
//	outage.go         how long the store was unavailable
//	check.go          whether an access or refresh token is active
//	revoke.go         the revocation of a token
//	end.go            the end of a grant or a session
//	metrics.go        counters
//
// Every decision is for the registry and the store as they are at that moment. A request that is
// refused gets a *RefusedError. Errors of the store are returned as they are.
package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/keys"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
	"github.com/oauth-operator/oauth-operator/tokenserver/users"
)

// Service decides about grants. All fields but Metrics and StoreID are required.
type Service struct {
	Store    storage.Store
	Keys     *keys.Set
	Registry *registry.Registry
	Users    *users.Users
	Now      func() time.Time
	Random   io.Reader
	// StoreID identifies the records of the Store. It differs for a Store that does not know what
	// was redeemed, revoked and ended before: one in memory after a restart, one of another kind,
	// or one of a server that was created again. Codes, sessions and access tokens without a grant
	// are valid only with the StoreID that they were issued with.
	StoreID string
	Log     *slog.Logger
	Metrics *Metrics

	// Writes of codes and of refreshes are remembered apart: an unconfirmed refresh is no reason to
	// accept a code twice, nor the other way round.
	codeWrites, refreshWrites unconfirmedWrites
	outages                   outages
}

// RefusalKind says which part of a token request is refused.
type RefusalKind int

const (
	// InvalidGrant: the code, password or refresh token is not valid.
	InvalidGrant RefusalKind = iota
	// InvalidScope: the request asks for a scope that was not granted.
	InvalidScope
	// InvalidTarget: the request asks for a resource that the grant does not cover.
	InvalidTarget
)

// RefusedError is returned for a request that is refused. Reason tells the developer of the
// client why. It never quotes a value of the request.
type RefusedError struct {
	Kind   RefusalKind
	Reason string
}

func (e *RefusedError) Error() string { return "refused: " + e.Reason }

func invalidGrant(reason string) error { return &RefusedError{Kind: InvalidGrant, Reason: reason} }

func isRefused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}

// ErrInactive is returned for a token that authorizes nothing, for whatever reason.
var ErrInactive = errors.New("token is not active")

// Result of an exchange: what the tokens of the response contain.
type Result struct {
	Grant storage.Grant
	User  *registry.User
	// Scopes and Audience of the access token.
	Scopes   []string
	Audience []string
	// RefreshToken is the new refresh token. It is empty if the grant has none, or the client keeps
	// the one that it sent.
	RefreshToken string
}

// newRandomID returns 64 random hexadecimal digits.
func (s *Service) newRandomID() (string, error) {
	var id [32]byte
	if _, err := io.ReadFull(s.Random, id[:]); err != nil {
		return "", fmt.Errorf("reading randomness for an id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// hashID returns the id of a record, 40 hexadecimal digits, for a value that the record must not
// reveal.
func hashID(kind, value string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + value))
	return hex.EncodeToString(sum[:20])
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
