package keyring

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/oauth-operator/oauth-operator/tokenserver/documents"
)

var testTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func document(kid, algorithm, phase string) documents.Key {
	return documents.Key{KID: kid, Algorithm: algorithm, Phase: phase}
}

func record(kid, algorithm, phase string) Key {
	return Key{KID: kid, Algorithm: algorithm, Phase: phase, Since: testTime}
}

func TestAKeyIsMissedWhoseMaterialIsGone(t *testing.T) {
	ring := Ring{Started: []string{"ES256"}, Keys: []Key{
		record("a", "ES256", documents.KeyActive), record("p", "ES256", documents.KeyPublished), record("r", "ES256", documents.KeyRetiring),
	}}
	served := ring.Documents()
	for name, c := range map[string]struct {
		ring     Ring
		existing []string
		known    []documents.Key
		revoked  []string
		lost     []string
	}{
		"all there":                           {ring, []string{"r", "a", "p"}, served, nil, nil},
		"all there, as the caller knows":      {ring, nil, served, nil, nil},
		"one gone":                            {ring, []string{"a", "r"}, served, nil, []string{"p"}},
		"one gone and revoked":                {ring, []string{"a", "r"}, served, []string{"p"}, nil},
		"all gone":                            {ring, []string{}, served, nil, []string{"a", "p", "r"}},
		"a new server takes them up":          {ring, []string{"a", "p", "r"}, nil, nil, nil},
		"the Secret is gone":                  {Ring{}, []string{}, served, nil, []string{"a", "p", "r"}},
		"the Secret is gone, some revoked":    {Ring{}, []string{}, served, []string{"a", "r"}, []string{"p"}},
		"the Secret is gone, all revoked":     {Ring{}, []string{}, served, []string{"a", "r", "p"}, nil},
		"an older Secret":                     {ring, []string{"a", "p", "r"}, []documents.Key{document("new", "ES256", documents.KeyActive)}, nil, []string{"new"}},
		"an older Secret, the newest revoked": {ring, []string{"a", "p", "r"}, []documents.Key{document("new", "ES256", documents.KeyActive)}, []string{"new"}, nil},
		"an older document": {ring, []string{"a", "p", "r"}, []documents.Key{
			document("r", "ES256", documents.KeyActive), document("old", "ES256", documents.KeyRetiring), document("x", "ES256", documents.KeyPublished),
		}, nil, nil},
		"a new server": {Ring{}, []string{}, nil, nil, nil},
	} {
		got, lost, err := Restore(c.ring, c.existing, c.known, c.revoked, testTime)
		if err != nil || !slices.Equal(slices.Sorted(slices.Values(lost)), c.lost) {
			t.Errorf("%s: lost %q, %v, want %q", name, lost, err, c.lost)
		}
		if !reflect.DeepEqual(got, c.ring) {
			t.Errorf("%s: the ring is %+v", name, got)
		}
	}
}

func TestARingIsRebuiltFromTheDocumentWhenOnlyTheAnnotationIsLost(t *testing.T) {
	known := []documents.Key{
		document("e-r", "ES256", documents.KeyRetiring), document("e-a", "ES256", documents.KeyActive), document("r-a", "RS256", documents.KeyActive),
		document("e-p", "ES256", documents.KeyPublished), document("s-a", sealing, documents.KeyActive),
	}
	existing := []string{"s-a", "e-r", "e-a", "r-a", "e-p", "unknown"}
	ring, lost, err := Restore(Ring{}, existing, known, nil, testTime)
	if err != nil || len(lost) > 0 {
		t.Fatalf("lost %q, %v", lost, err)
	}
	if !reflect.DeepEqual(ring.Documents(), known) || !ring.isValid() || !slices.Equal(slices.Sorted(slices.Values(ring.Started)), []string{"ES256", "RS256", sealing}) {
		t.Errorf("%+v", ring)
	}
	r := newRingTest(t)
	r.ring, r.in.Served = ring, known
	r.in.Now = testTime
	if r.advance(r.in.TokenLifetime); !r.ring.Has("e-r") || r.active("ES256") != "e-a" || r.active("RS256") != "r-a" || r.standby("ES256") != "e-p" {
		t.Errorf("%+v", r.ring)
	}
	if _, lost, _ := Restore(Ring{}, []string{"e-a"}, known, nil, testTime); len(lost) != 4 {
		t.Errorf("with one key left, lost %q", lost)
	}
}

func TestMaterialOfWhichNothingIsKnownIsNotThrownAway(t *testing.T) {
	_, _, err := Restore(Ring{}, []string{"a"}, nil, nil, testTime)
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
	if _, lost, err := Restore(Ring{}, []string{"a"}, nil, []string{"a"}, testTime); err != nil || len(lost) > 0 {
		t.Errorf("revoked: lost %q, %v", lost, err)
	}
}
