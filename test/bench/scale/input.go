package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/oauth-operator/oauth-operator/test/bench/results"
)

// input is what everything is computed from.
type input struct {
	Units       []*unit       `json:"units"`
	Assumptions []*assumption `json:"assumptions"`

	values map[string]float64 // by id, in seconds, bytes or pieces
	asked  map[string]bool    // ids that a table has asked for
}

// unit is a cost that was measured.
type unit struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Group and Row identify the row of performance.json. Of is "floor" where it is the row's floor.
	Group string `json:"group,omitempty"`
	Row   string `json:"row,omitempty"`
	Of    string `json:"of,omitempty"`
	Unit  string `json:"unit"`
	// Value is what to take while the row is not there, and Source says where it is from. Without
	// it, nothing that needs the unit can be computed.
	Value  float64 `json:"value,omitempty"`
	Source string  `json:"source,omitempty"`

	taken float64 // in Unit; NaN: there is none
	from  string  // where taken is from
}

// assumption is a figure that is not measured.
type assumption struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Unit   string  `json:"unit,omitempty"`
	Value  float64 `json:"value"`
	Source string  `json:"source"`
}

// scales say how many seconds, bytes or pieces a unit is.
var scales = map[string]float64{
	"": 1, "a second": 1, "API writes each": 1,
	"µs of CPU": 1e-6, "ms of CPU": 1e-3, "s of CPU": 1, "ms": 1e-3, "s": 1, "h": 3600,
	"bytes": 1, "MiB": 1 << 20, "GiB": 1 << 30,
}

// readInput reads the units and the assumptions, and looks the units up in what was measured.
func readInput(r io.Reader, measured results.File) (*input, error) {
	in := &input{values: map[string]float64{}, asked: map[string]bool{}}
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(in); err != nil {
		return nil, err
	}
	var errs []error
	add := func(id, unit string, value float64) {
		scale, ok := scales[unit]
		if _, twice := in.values[id]; twice || id == "" || !ok {
			errs = append(errs, fmt.Errorf("%q: want an id that no other has, and a unit that is known, not %q", id, unit))
		}
		in.values[id] = value * scale
	}
	for _, u := range in.Units {
		if err := u.take(measured); err != nil {
			errs = append(errs, err)
		}
		add(u.ID, u.Unit, u.taken)
	}
	for _, a := range in.Assumptions {
		if a.Source == "" {
			errs = append(errs, fmt.Errorf("%q has no source", a.ID))
		}
		add(a.ID, a.Unit, a.Value)
	}
	return in, errors.Join(errs...)
}

// take looks the unit up.
func (u *unit) take(measured results.File) error {
	at := slices.IndexFunc(measured.Rows, func(r results.Row) bool { return r.Group == u.Group && r.Name == u.Row })
	if at < 0 || u.Row == "" {
		u.taken, u.from = u.Value, u.Source
		if u.Value == 0 {
			u.taken, u.from = math.NaN(), "not measured"
		} else if u.Source == "" {
			return fmt.Errorf("%q has a value without a source", u.ID)
		}
		return nil
	}
	row := measured.Rows[at]
	scale, ok := scales[row.Unit]
	if !ok {
		return fmt.Errorf("%q: the row %q has the unit %q, which is not known", u.ID, u.Row, row.Unit)
	}
	u.taken, u.from = row.Value, fmt.Sprintf("run %d", row.Run)
	if u.Of == "floor" {
		u.taken, u.from = row.Floor, u.from+", the floor of "+row.Name
	}
	u.taken *= scale / scales[u.Unit]
	return nil
}

// of is the value of a unit or an assumption, in seconds, bytes or pieces. It is not a number where
// it was not measured, and so is everything that is computed with it.
func (in *input) of(id string) float64 {
	in.asked[id] = true
	if v, ok := in.values[id]; ok {
		return v
	}
	return math.NaN()
}

// unknown is an error if an id was asked for that the input does not have, or the other way round.
// Where something was not measured, what needs it is not computed, and asks for nothing more.
func (in *input) unknown() error {
	var errs []error
	isComplete := true
	for id := range in.asked {
		if _, ok := in.values[id]; !ok {
			errs = append(errs, fmt.Errorf("scale.json has no %q", id))
		}
	}
	for _, value := range in.values {
		isComplete = isComplete && !math.IsNaN(value)
	}
	for id := range in.values {
		if isComplete && !in.asked[id] {
			errs = append(errs, fmt.Errorf("nothing is computed from %q of scale.json", id))
		}
	}
	return errors.Join(errs...)
}
