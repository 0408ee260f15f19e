package keyring

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestTheAnnotationIsReadAsItWasWritten(t *testing.T) {
	r := newRingTest(t)
	r.advanceUntilStable(0)
	r.in.Revision = 3
	r.advanceUntilStable(time.Hour)
	r.in.Now = r.in.Now.Add(1234567 * time.Nanosecond)
	r.advanceUntilStable(time.Hour)
	for name, ring := range map[string]Ring{"none": {}, "all phases": r.ring} {
		text, err := ring.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(text)
		if err != nil || !reflect.DeepEqual(got, ring) {
			t.Errorf("%s: read %+v, %v, written %+v", name, got, err, ring)
		}
	}
	if ring, err := Decode(""); err != nil || !reflect.DeepEqual(ring, Ring{}) {
		t.Errorf("no annotation: %+v, %v", ring, err)
	}
}

func TestAnAnnotationThatWasSpoiledIsNoRing(t *testing.T) {
	for _, text := range []string{
		"{", "[]", "none", `{"keys":[{"kid":"a","algorithm":"ES256","phase":"Used"}]}`, `{"keys":[{"kid":"","algorithm":"ES256","phase":"Active"}]}`,
		`{"keys":[{"kid":"a","algorithm":"ES256","phase":"Active"},{"kid":"a","algorithm":"RS256","phase":"Active"}]}`,
		`{"keys":[{"kid":"a","algorithm":"ES256","phase":"Active"},{"kid":"b","algorithm":"ES256","phase":"Active"}]}`,
		`{"keys":[{"kid":"a","algorithm":"ES256","phase":"Active","since":"yesterday"}]}`, `{"keys":[{"kid":"a","phase":"Active"}]}`,
	} {
		ring, err := Decode(text)
		if !errors.Is(err, ErrInvalid) || !reflect.DeepEqual(ring, Ring{}) {
			t.Errorf("%s: %+v, %v", text, ring, err)
		}
	}
}

func TestARingOfANewerVersionIsNotRead(t *testing.T) {
	for _, text := range []string{
		`{"keys":[{"kid":"a","algorithm":"ES256","phase":"Active","constraint":true}]}`, `{"keys":[],"constraint":true}`,
	} {
		if ring, err := Decode(text); !errors.Is(err, ErrNewer) || !reflect.DeepEqual(ring, Ring{}) {
			t.Errorf("%s: %+v, %v", text, ring, err)
		}
	}
}
