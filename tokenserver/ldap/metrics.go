package ldap

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
	"github.com/oauth-operator/oauth-operator/tokenserver/providercount"
	"github.com/oauth-operator/oauth-operator/tokenserver/registry"
	"github.com/oauth-operator/oauth-operator/tokenserver/throttle"
)

// The results that are no Reason.
const (
	resultSuccess   = providercount.Success
	resultWrong     = "Wrong"
	resultDenied    = "Denied"
	resultThrottled = "Throttled"
	resultBusy      = "Busy"
	resultError     = "Error"
)

// Metrics counts sign-ins and answers. A nil *Metrics counts nothing.
type Metrics struct{ signIns, undated *providercount.Counter }

// NewMetrics returns counters that are registered.
func NewMetrics(registerer prometheus.Registerer, reg *registry.Registry) (*Metrics, error) {
	signIns, err := providercount.New(registerer, reg, providercount.Options{
		Name:     "directory_sign_ins_total",
		Help:     "Passwords that were typed for a directory, by identity provider and by result: Success, or why the user did not sign in.",
		ByResult: true, Except: documents.ProviderOIDC,
	})
	if err != nil {
		return nil, err
	}
	undated, err := providercount.New(registerer, reg, providercount.Options{
		Name:   "directory_entries_without_password_time_total",
		Help:   "Answers about a user that have no passwordChangedAttribute, so that another password ends nothing, by identity provider.",
		Except: documents.ProviderOIDC,
	})
	return &Metrics{signIns, undated}, err
}

func (m *Metrics) count(provider string, err error) {
	if m != nil {
		m.signIns.AddResult(provider, resultOf(err))
	}
}

// countUndated counts an entry that does not say when its password was changed.
func (m *Metrics) countUndated(provider string) {
	if m != nil {
		m.undated.Add(provider, 1)
	}
}

func resultOf(err error) string {
	var failed *Error
	var refused *throttle.RefusedError
	switch {
	case err == nil:
		return resultSuccess
	case errors.Is(err, ErrDenied):
		return resultDenied
	case errors.Is(err, ErrWrong):
		return resultWrong
	case errors.As(err, &refused):
		return resultThrottled
	case errors.Is(err, ErrBusy):
		return resultBusy
	case errors.As(err, &failed):
		return string(failed.Reason)
	default:
		return resultError
	}
}
