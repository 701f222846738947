package filer
