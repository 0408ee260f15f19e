package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// billOfMaterials lists, in CycloneDX JSON, the Go modules that are linked into the programs, as the
// linker has written them down there; which of the programs have them; and the version of Go.
func (r release) billOfMaterials() (string, []byte, error) {
	paths, err := r.programFiles()
	if err != nil {
		return "", nil, err
	}
	product := cdx.Component{
		BOMRef: "oauth-operator", Type: cdx.ComponentTypeContainer, Name: "oauth-operator", Version: r.version,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}
	modules, programs := map[string]cdx.Component{}, map[string]cdx.Component{}
	needs := map[string][]string{}
	for _, path := range paths {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return "", nil, fmt.Errorf("%s is no Go program: %w", path, err)
		}
		program := strings.TrimSuffix(filepath.Base(path), ".exe")
		programs[program] = cdx.Component{BOMRef: program, Type: cdx.ComponentTypeApplication, Name: program, Version: r.version}
		version, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ") // experiments follow
		linked := []string{golang("std", version)}
		for _, module := range info.Deps {
			if module.Replace != nil {
				module = module.Replace
			}
			linked = append(linked, golang(module.Path, module.Version))
		}
		for _, purl := range linked {
			name, version, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:golang/"), "@")
			modules[purl] = cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: purl}
		}
		needs[program] = append(needs[program], linked...)
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &product}
	var components []cdx.Component
	dependencies := []cdx.Dependency{{Ref: product.BOMRef, Dependencies: new(sortedKeys(programs))}}
	for _, name := range sortedKeys(programs) {
		components = append(components, programs[name])
		slices.Sort(needs[name])
		dependencies = append(dependencies, cdx.Dependency{Ref: name, Dependencies: new(slices.Compact(needs[name]))})
	}
	for _, purl := range sortedKeys(modules) {
		components = append(components, modules[purl])
	}
	bom.Components, bom.Dependencies = &components, &dependencies
	content, err := encode(bom)
	if err != nil {
		return "", nil, err
	}
	// The serial number is a UUID of the content (RFC 9562, version 8): the same modules, the same number.
	sum := sha256.Sum256(content)
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	content, err = encode(bom)
	return "oauth-operator-" + r.version + ".cdx.json", content, err
}

func encode(bom *cdx.BOM) ([]byte, error) {
	var text bytes.Buffer
	err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	return text.Bytes(), err
}

// golang is the package URL of a Go module.
func golang(path, version string) string { return "pkg:golang/" + path + "@" + version }

func (r release) programFiles() ([]string, error) {
	var paths []string
	for _, dir := range r.programs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return nil, fmt.Errorf("there are no programs in %s", dir)
		}
		for _, entry := range entries {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	for _, p := range r.plugins {
		paths = append(paths, p.program)
	}
	return paths, nil
}
