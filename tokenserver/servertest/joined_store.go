package servertest

import (
	"context"

	"github.com/oauth-operator/oauth-operator/tokenserver/storage"
)

// JoinReads has each Server that is made while it is set read a grant together with what the grant
// rests on, as with a database (storage.BasisReader).
var JoinReads bool

// grantStore returns the store of the Server's grants.
func (s *Server) grantStore() storage.Store {
	if JoinReads {
		return JoinedStore{s.Store}
	}
	return s.Store
}

// JoinedStore is a store that reads a grant and what it rests on in one exchange. A fault of one of
// its reads is one of the exchange.
type JoinedStore struct{ storage.Store }

// GetGrantWithBasis implements storage.BasisReader.
func (s JoinedStore) GetGrantWithBasis(ctx context.Context, id string) (storage.Grant, *storage.Basis, error) {
	g, err := s.GetGrant(ctx, id)
	if err != nil {
		return g, nil, err
	}
	basis := &storage.Basis{}
	if !g.Offline && g.SessionHash != "" {
		if basis.SessionEnded, err = s.IsMarked(ctx, storage.MarkSession, g.SessionHash); err != nil {
			return g, nil, err
		}
	}
	if g.Consented {
		basis.ConsentExists, err = s.HasConsent(ctx, g.UserUID, g.ClientUID, g.ConsentUID)
	}
	return g, basis, err
}
