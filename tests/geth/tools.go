//go:build tools

// Package tools names what scripts/geth builds, so that go.sum locks every module it is built from.
package tools

import _ "github.com/ethereum/go-ethereum/cmd/geth"
