package claimmapping

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// normalizeInput returns a copy of upstream in which numbers are int64 where they have no fraction,
// otherwise float64, and lists are []any.
func normalizeInput(upstream map[string]any) (map[string]any, error) {
	n := &normalizer{}
	value, err := n.normalize(upstream, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	return value.(map[string]any), nil
}

// normalizer counts the bytes that the values have in JSON, as far as nothing is escaped.
type normalizer struct{ size int }

func (n *normalizer) add(bytes int) error {
	if n.size += bytes; n.size > MaxInput {
		return fmt.Errorf("it has more than %d bytes", MaxInput)
	}
	return nil
}

func (n *normalizer) normalize(value any, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("it is nested deeper than %d", MaxDepth)
	}
	switch v := value.(type) {
	case nil:
		return nil, n.add(len("null,"))
	case bool:
		return v, n.add(len("false,"))
	case string:
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("a string is not UTF-8")
		}
		return v, n.add(len(v) + len(`"",`))
	case map[string]any:
		return n.normalizeMap(v, depth)
	case []any:
		return normalizeList(n, v, depth)
	case []string:
		return normalizeList(n, v, depth)
	}
	number, ok := normalizeNumber(value)
	if !ok {
		return nil, fmt.Errorf("a %T is no value of JSON", value)
	}
	return number, n.add(len("0123456789,"))
}

func (n *normalizer) normalizeMap(object map[string]any, depth int) (any, error) {
	if err := n.add(len("{},")); err != nil {
		return nil, err
	}
	result := make(map[string]any, len(object))
	for key, member := range object {
		if _, err := n.normalize(key, depth); err != nil {
			return nil, err
		}
		value, err := n.normalize(member, depth+1)
		if err != nil {
			return nil, err
		}
		result[key] = value
	}
	return result, nil
}

func normalizeList[T any](n *normalizer, list []T, depth int) (any, error) {
	if err := n.add(len("[],")); err != nil {
		return nil, err
	}
	result := make([]any, 0, len(list))
	for _, item := range list {
		value, err := n.normalize(item, depth+1)
		if err != nil {
			return nil, err
		}
		result = append(result, value)
	}
	return result, nil
}

func normalizeNumber(value any) (any, bool) {
	var f float64
	switch v := value.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case float64:
		f = v
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i, true
		}
		var err error
		if f, err = v.Float64(); err != nil {
			return nil, false
		}
	default:
		return nil, false
	}
	// From 2^53 on, a float64 may be another number than the one that was sent.
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int64(f), true
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}
