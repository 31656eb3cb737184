package cport
